"""Joining short recordings: what is heard and what is written stay together."""

import numpy as np
import pytest

from polyvoice.cli.main import run
from polyvoice.corpus.manifest import read_manifest
from speechunits.audio import Waveform, read_audio, write_wav

RATE_HZ = 16_000
HEADER = "id\tsource_audio\tsource_lang\tsource_text\ttarget_audio\ttarget_lang\ttarget_text\tspeaker\tsplit"


def write_corpus(folder, rows):
    """Each recording is as loud as its row's number says, and lasts half a second and a tenth for each."""
    lines = [HEADER]
    for number, (key, speaker, split, target) in enumerate(rows):
        for side in ("en", *(["zh"] if target else [])):
            level = np.full(RATE_HZ // 2 + number * RATE_HZ // 10, (number + 1) / 20, np.float32)
            write_wav(folder / f"{key}.{side}.wav", Waveform(level, RATE_HZ))
        audio = f"{key}.zh.wav" if target else ""
        lines.append(f"{key}\t{key}.en.wav\ten\ttext {key}.\t{audio}\tzh\t{target}\t{speaker}\t{split}")
    path = folder / "pairs.tsv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def levels_of(path):
    """The rows that a recording is made of, by their levels, and how long it is silent between them."""
    waveform = read_audio(path)
    numbers = np.rint(waveform.samples * 20).astype(int) - 1
    found = [numbers[0], *numbers[1:][np.diff(numbers) != 0]]
    return [number for number in found if number >= 0], (numbers < 0).sum() / waveform.rate_hz


@pytest.fixture
def corpus(tmp_path):
    rows = [("a", "ann", "train", "甲。"), ("b", "ann", "train", "乙。"), ("c", "ann", "train", "丙。")]
    rows += [("x", "bob", "train", "丁。"), ("y", "bob", "train", "戊。"), ("z", "bob", "train", "")]
    return write_corpus(tmp_path, [*rows, ("held", "ann", "test", "己。"), ("nobody", "", "train", "庚。")])


def test_sound_and_text_of_both_sides_are_joined_in_the_same_order(corpus, tmp_path, capsys):
    out = tmp_path / "joined"
    command = ["corpus", "join", str(corpus), "--out", str(out), "--count", "60", "--workers", "1"]
    assert run(command) == 0
    original = {row.id: (number, row) for number, row in enumerate(read_manifest(corpus))}
    rows = read_manifest(out / "pairs.tsv")
    assert capsys.readouterr().out == f"{out / 'pairs.tsv'}: {len(rows)} rows\n"
    # All twos and threes of either speaker, none twice: 3 + 1 of each.
    assert sorted("".join(sorted(row.id.split("+"))) for row in rows) == [
        "ab",
        "abc",
        "ac",
        "bc",
        "xy",
        "xyz",
        "xz",
        "yz",
    ]
    for row in rows:
        numbers, parts = zip(*(original[key] for key in row.id.split("+")), strict=True)
        assert {part.speaker for part in parts} == {row.speaker}
        assert row.source_text == " ".join(part.source_text for part in parts)
        heard, silent_s = levels_of(row.source_audio)
        assert heard == list(numbers)
        assert 0.02 * (len(parts) - 1) <= silent_s <= 0.25 * (len(parts) - 1)
        if "z" in row.id:
            assert (row.target_text, row.target_audio) == (None, None)
        else:
            assert row.target_text == "".join(part.target_text for part in parts)
            assert levels_of(row.target_audio)[0] == list(numbers)
    before = (out / "pairs.tsv").read_bytes()
    assert run(command) == 0
    assert (out / "pairs.tsv").read_bytes() == before


def test_nothing_is_longer_than_asked(corpus, tmp_path):
    out = tmp_path / "joined"
    assert run(["corpus", "join", str(corpus), "--out", str(out), "--longest-s", "1.6", "--workers", "1"]) == 0
    rows = read_manifest(out / "pairs.tsv")
    assert rows
    assert all(read_audio(row.source_audio).duration_s <= 1.6 for row in rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--longest-s", "0.5"], "no two recordings of a speaker fit into 0.5 s"),
        (["--count", "0"], "are positive, not 0"),
    ],
)
def test_what_cannot_be_joined_is_said(corpus, tmp_path, capsys, options, message):
    assert run(["corpus", "join", str(corpus), "--out", str(tmp_path / "joined"), "--workers", "1", *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "joined" / "pairs.tsv").exists()
