"""The list of a manifest's recordings: what extraction reads is what the stages look up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from polyvoice.cli.main import run
from polyvoice.corpus.manifest import PairRow, read_manifest, write_manifest
from polyvoice.spoken import load_pairs
from speechunits.extracted import Extracted, ExtractedInfo, UnitsInfo, write_extracted
from speechunits.listing import read_list


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    def pair(key: str, source: str, target: str | None, split: str) -> PairRow:
        said = tmp_path / target if target else None
        return PairRow(key, tmp_path / source, "zh", "好", said, "en", "good", None, split)

    rows = [
        pair("a", "audio/1.flac", "audio/2.flac", "train"),
        pair("b", "audio/3.flac", None, "dev"),
        pair("c", "../shared.wav", "audio/2.flac", "train"),
    ]
    write_manifest(tmp_path / "pairs.tsv", rows)
    return tmp_path / "pairs.tsv"


def test_each_recording_is_listed_once(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = manifest.with_name("recordings.tsv")
    assert run(["corpus", "recordings", str(manifest), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: 4 recordings\n"
    listed = read_list(out)
    assert [one.audio for one in listed] == ["audio/1.flac", "audio/2.flac", "audio/3.flac", "../shared.wav"]
    assert run(["corpus", "recordings", str(manifest), "--out", str(out), "--split", "train"]) == 0
    assert [one.audio for one in read_list(out)] == ["audio/1.flac", "audio/2.flac", "../shared.wav"]


def test_what_is_extracted_from_the_list_is_found_again(manifest: Path, tmp_path: Path) -> None:
    out = manifest.with_name("recordings.tsv")
    assert run(["corpus", "recordings", str(manifest), "--out", str(out)]) == 0
    units = np.array([1, 1, 2], dtype=np.int64)
    found = [Extracted(one.audio, 0.06, units, None) for one in read_list(out)]
    write_extracted(tmp_path / "extracted", ExtractedInfo(UnitsInfo("e", "k", 3, 50.0), None), found)
    assert [pair.id for pair in load_pairs(manifest, tmp_path / "extracted", "train")] == ["a", "c"]


def test_a_list_says_who_speaks_where_it_is_known(manifest: Path) -> None:
    rows = [replace(row, speaker=f"voice{number}") for number, row in enumerate(read_manifest(manifest))]
    write_manifest(manifest, [rows[0], replace(rows[1], speaker=None), rows[2]])
    out = manifest.with_name("recordings.tsv")
    assert run(["corpus", "recordings", str(manifest), "--out", str(out)]) == 0
    # The first that is known counts: the second recording is in two rows.
    wanted = [
        "audio\tspeaker",
        "audio/1.flac\tvoice0",
        "audio/2.flac\tvoice0",
        "audio/3.flac\t",
        "../shared.wav\tvoice2",
    ]
    assert out.read_text(encoding="utf-8").splitlines() == wanted
    assert len(read_list(out)) == 4


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--out", "elsewhere/list.tsv"], "has to lie beside it"),
        (["--out", "./pairs.tsv"], "is the manifest itself"),
        (["--split", "test"], "no recordings of split test"),
    ],
)
def test_lists_that_cannot_be(
    words: list[str], complaint: str, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(manifest.parent / word) if "/" in word else word for word in words]
    out = [] if "--out" in words else ["--out", str(manifest.with_name("list.tsv"))]
    assert run(["corpus", "recordings", str(manifest), *given, *out]) == 2
    output, errors = capsys.readouterr()
    assert (output, len(errors.splitlines())) == ("", 1)
    assert complaint in errors
