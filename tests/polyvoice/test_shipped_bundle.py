"""The bundle that ships: complete, small enough, and it says in another language what it hears."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from polyvoice.bundle import load
from polyvoice.bundle.shipped import shipped_bundle, shipped_recordings
from polyvoice.cli.main import run
from polyvoice.corpus.manifest import PairRow, read_manifest
from polyvoice.corpus.speak.voices import split_voices
from polyvoice.evaluation.sequences import count_edits

LARGEST = 64e6  # bytes


@pytest.fixture(scope="module")
def phrases() -> list[PairRow]:
    """The recordings that ship of the kind of sentence that the bundle was made for."""
    return [row for row in read_manifest(shipped_recordings()) if row.id.startswith("phrasebook-05df4e34")]


def test_it_is_whole_and_small_enough() -> None:
    folder = shipped_bundle()
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < LARGEST
    opened = load(folder)
    assert set(map(str, opened.manifest.directions)) == {"zh-en", "en-zh", "es-en", "en-es"}
    parts = (opened.encoder, opened.kmeans, opened.codec, opened.translator, opened.duration, opened.synthesizer)
    assert all(parts)
    card = (folder / "README.md").read_text()
    assert all(word in card for word in ("CC BY-SA", "Kokoro", "Whisper", "## Scores"))
    assert split_voices(["af_heart"]) == {"af_heart": "test"}  # as the card says, nothing was learned from it


def test_the_command_needs_nothing_but_a_recording(
    phrases: list[PairRow], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {(row.source_lang, row.target_lang) for row in phrases} == {("zh", "en"), ("en", "zh")}
    for row in phrases:
        out = tmp_path / f"{row.target_lang}.wav"
        words = ["translate", str(row.source_audio), str(out), "--from", row.source_lang, "--to", row.target_lang]
        assert run([*words, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        spoken = soundfile.info(out)
        heard = soundfile.info(str(row.source_audio))
        assert 0.4 < spoken.duration / heard.duration < 2.5
        said = " ".join(piece["text_said"] for piece in told["pieces"])
        assert said
        assert row.target_text
        assert count_edits(said, row.target_text) < 0.5 * len(row.target_text)


def test_a_translation_loads_nothing_of_training_and_no_compiler(phrases: list[PairRow], tmp_path: Path) -> None:
    row = phrases[0]
    words = ["translate", str(row.source_audio), str(tmp_path / "out.wav"), "--from", row.source_lang]
    program = (
        "import sys\n"
        "from polyvoice.cli.main import run\n"
        f"assert run({[*words, '--to', row.target_lang, '--json']!r}) == 0\n"
        "heavy = {'torch._dynamo', 'torch._inductor', 'torch.distributed.fsdp', 'sympy', 'unitlm.train'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stderr.splitlines()[-1] == "[]"
