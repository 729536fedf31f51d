"""Merging manifests: nothing lost, ids unique, leaks named or dropped."""

from pathlib import Path

import pytest

from polyvoice.cli.main import run
from polyvoice.corpus.manifest import PairRow, read_manifest, write_manifest
from polyvoice.corpus.merge import find_leaks, merge_manifests
from polyvoice.errors import InputError


def pair(key, source, target, split, audio="a.flac"):
    return PairRow(key, Path("/audio") / audio, "zh", source, None, "en", target, None, split)


@pytest.fixture
def write(tmp_path):
    def write_rows(name, *rows):
        (tmp_path / name).mkdir()
        write_manifest(tmp_path / name / "pairs.tsv", rows)
        return tmp_path / name / "pairs.tsv"

    return write_rows


def test_ids_stay_unique_and_audio_stays_where_it_is(write, tmp_path):
    first = write("first", pair("a", "一", "one", "train"), pair("b", "二", "two", "train"))
    second = write("second", pair("a", "三", "three", "train"), pair("a@2", "四", "four", "train"))
    third = write("third", pair("a", "五", "five", "test"))
    summary = merge_manifests([first, second, third], tmp_path / "all.tsv")
    rows = read_manifest(tmp_path / "all.tsv")
    assert [(row.id, row.target_text) for row in rows] == [
        ("a", "one"),
        ("b", "two"),
        ("a@3", "three"),
        ("a@2", "four"),
        ("a@4", "five"),
    ]
    assert {row.source_audio for row in rows} == {Path("/audio/a.flac")}
    assert (summary.rows, summary.renamed, summary.dropped) == (5, 2, 0)


def test_leaks_of_either_language_are_named_or_dropped(write, tmp_path, capsys):
    train = write(
        "train",
        pair("kept", "一", "one", "train"),
        pair("by-source", "你好。", "good day", "train"),
        pair("by-target", "您好", "HELLO", "dev"),
    )
    test = write("test", pair("tested", "你好！", "Hello.", "test"))
    assert run(["corpus", "merge", str(train), str(test), "--out", str(tmp_path / "all.tsv")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "2 sentences of train or dev are in test too" in error
    assert "by-source and tested" in error
    assert "by-target and tested" in error
    assert not (tmp_path / "all.tsv").exists()
    arguments = ["corpus", "merge", str(train), str(test), "--out", str(tmp_path / "all.tsv"), "--drop-leaks"]
    assert run(arguments) == 0
    assert "2 rows, 0 renamed, 2 dropped" in capsys.readouterr().out
    assert [row.id for row in read_manifest(tmp_path / "all.tsv")] == ["kept", "tested"]


def test_the_same_words_in_another_language_are_no_leak():
    rows = [
        PairRow("a", None, "es", "no", None, "en", "no way", None, "train"),
        PairRow("b", None, "en", "no", None, "es", "nada", None, "test"),
    ]
    assert find_leaks(rows) == []


def test_merging_needs_manifests(tmp_path):
    with pytest.raises(InputError, match="no manifest is given"):
        merge_manifests([], tmp_path / "all.tsv")
