"""The command `speechunits`, run as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from speechunits.audio import write_wav
from speechunits.cli.main import run as run_command
from speechunits.extracted import Extracted, ExtractedInfo, UnitsInfo, read_extracted, write_extracted


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "speechunits.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, make_waveform, save_tiny_hubert) -> Path:
    """Two sentences by two speakers, a file that is missing, and an encoder."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "wav").mkdir()
    lines = ["audio\tsentence\tspeaker"]
    for sentence in (0, 1):
        for speaker, rate_hz in (("A", 16_000), ("B", 22_050)):
            write_wav(folder / f"wav/{speaker}{sentence}.wav", make_waveform(0.8, sentence, rate_hz=rate_hz))
            lines.append(f"wav/{speaker}{sentence}.wav\t{sentence}\t{speaker}")
    lines.append("wav/absent.wav\t2\tA")
    (folder / "list.tsv").write_text("\n".join(lines) + "\n")
    (folder / "good.tsv").write_text("\n".join(lines[:-1]) + "\n")
    (folder / "hubert.pt").write_bytes(save_tiny_hubert().path.read_bytes())
    return folder


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]):
    """The command within this process: status, stdout and stderr."""

    def call_command(*arguments: object) -> tuple[int, str, str]:
        status = run_command([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return call_command


def test_from_recordings_to_a_report(call, corpus: Path, tmp_path: Path) -> None:
    encoder = ("--encoder", corpus / "hubert.pt", "--layer", 2)
    options = (*encoder, "--clusters", 8, "--out", tmp_path / "u.safetensors", "--json")
    status, printed, said = call("kmeans", corpus / "good.tsv", *options)
    assert (status, said) == (0, "")
    summary = json.loads(printed)
    assert (summary["clusters"], summary["dimension"], summary["frames"]) == (8, 32, 4 * 39)

    options = (*encoder, "--kmeans", tmp_path / "u.safetensors", "--out", tmp_path / "units")
    result = run("extract", corpus / "list.tsv", *options)
    assert result.returncode == 0
    assert result.stdout == f"{tmp_path / 'units'}: 4 utterances, 1 failed, in 1 shards\n"
    assert result.stderr == f"speechunits: see {tmp_path / 'units/failed.tsv'} for the files that failed\n"
    assert (tmp_path / "units/failed.tsv").read_text() == "audio\treason\nwav/absent.wav\tNo such file or directory\n"
    info, utterances = read_extracted(tmp_path / "units")
    assert info.units.encoder == summary["encoder"]
    assert [len(row.units) for row in utterances] == [39] * 4

    status, printed, said = call("report", tmp_path / "units", corpus / "list.tsv", "--json")
    assert (status, said) == (0, "")
    figures = json.loads(printed)
    # The same tone at another rate, under other noise, is the same sentence.
    assert figures["same_sentence"] < 0.6 * figures["same_speaker"]
    assert (figures["utterances"], figures["same_sentence_pairs"], figures["same_speaker_pairs"]) == (4, 2, 2)
    assert figures["encoder"] == summary["encoder"]


def test_features_of_another_program(call, golden_utterance, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", golden_utterance.features[:300])
    np.save(tmp_path / "b.npy", golden_utterance.features[300:])
    files = ("--features", tmp_path / "a.npy", tmp_path / "b.npy")
    out = tmp_path / "units.safetensors"
    for method in ("full", "mini-batch"):
        status, printed, _ = call("kmeans", *files, "--clusters", 30, "--method", method, "--out", out)
        assert (status, printed) == (0, f"{out}: 30 units from 596 frames of unknown origin\n")


def test_a_report_for_reading(call, tmp_path: Path) -> None:
    rows = [Extracted(name, 1.0, np.array(units), None) for name, units in (("a", [0, 0, 1]), ("b", [0, 1, 2]))]
    write_extracted(tmp_path / "units", ExtractedInfo(UnitsInfo("e", "k", 5, 50.0), None), rows)
    (tmp_path / "list.tsv").write_text("audio\tsentence\tspeaker\na\tx\tA\nb\tx\tB\n")
    status, printed, _ = call("report", tmp_path / "units", tmp_path / "list.tsv")
    assert status == 0
    assert printed.splitlines()[:4] == [
        "utterances                                2",
        "edit distance, one sentence, two speakers 0.333 (1 pairs)",
        "edit distance, one speaker, two sentences nan (0 pairs)",
        "units a second, without repeats           2.5",
    ]
    _, printed, _ = call("report", tmp_path / "units", tmp_path / "list.tsv", "--json")
    assert json.loads(printed)["same_speaker"] is None


def test_bad_input_is_one_line_and_status_2(call, corpus: Path, tmp_path: Path) -> None:
    good, encoder = corpus / "good.tsv", ("--encoder", corpus / "hubert.pt", "--layer", 2)
    (tmp_path / "empty.tsv").write_text("audio\n")
    (tmp_path / "empty").mkdir()
    cases = [
        (("extract", good, "--out", tmp_path), "--codec for codes"),
        (("extract", good, "--out", tmp_path, "--layer", 2), "need --encoder, --layer and --kmeans together"),
        (("extract", tmp_path / "empty.tsv", "--out", tmp_path, "--codec", "x"), "empty.tsv: has no rows"),
        (("extract", good, "--out", tmp_path, "--codec", "nonsense"), "codec 'nonsense'"),
        (("train-codec", good, "--out", good, "--held-out-clips", 1), "good.tsv: cannot be written"),
        (("extract", good, "--out", tmp_path, *encoder, "--kmeans", good), "good.tsv"),
        (("kmeans", "--out", tmp_path / "absent/units"), "does not exist"),
        (("kmeans", "--out", tmp_path / "units"), "either a list of recordings or --features"),
        (("kmeans", good, "--out", tmp_path / "units"), "needs --encoder and --layer"),
        (("kmeans", "--features", tmp_path / "a.npy", "--out", tmp_path / "units"), "a.npy"),
        (("report", tmp_path / "empty", good), "nothing extracted"),
        (("report", tmp_path / "empty", tmp_path / "empty.tsv"), "no column sentence, speaker"),
    ]
    for arguments, words in cases:
        status, printed, said = call(*arguments)
        assert (status, printed, len(said.splitlines())) == (2, "", 1), said
        assert said.startswith("speechunits: ")
        assert words in said


def test_an_unknown_option_is_status_2() -> None:
    result = run("report", "units", "list.tsv", "--colour", "red")
    assert result.returncode == 2
    assert "colour" in result.stderr


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, speechunits.cli.main\n"
        "for words in (['--help'], ['extract', '--help'], ['kmeans', '--help']):\n"
        "    try:\n        speechunits.cli.main.run(words)\n"
        "    except SystemExit as stop:\n        assert stop.code == 0\n"
        "heavy = {'torch', 'faiss', 'numpy', 'fairseq', 'soundfile', 'sklearn', 'pyarrow', 'transformers'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "mini-batch" in result.stdout
    assert result.stdout.splitlines()[-1] == "[]"
