"""What a row says, that it survives its file, and that bad files are refused."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
from bench.loose_rows import read_loose_rows, split_size
from bench.pairs import Pairs
from bench.rows import Row, Task, merge_rows, read_rows, shorten, write_rows

TASK = Task("search", "exact top 10", "FPSim2", 1_000_000, "molecules", "query", target=5.0)
ROW = Row.measured(TASK, Pairs((1.0, 1.0, 2.0), (4.0, 6.0, 14.0)), equal=True, packages=("numpy", "no-such-package"))


def test_a_row_holds_the_statistics_of_its_pairs() -> None:
    assert (ROW.name, ROW.peer, ROW.size) == ("search-1m", "FPSim2", 1_000_000)
    assert (ROW.seconds_min, ROW.seconds_median, ROW.seconds_max) == (1.0, 1.0, 2.0)
    assert (ROW.ratio_min, ROW.ratio_median, ROW.ratio_max, ROW.peer_seconds_median) == (4.0, 6.0, 7.0, 6.0)
    assert ROW.met is True
    assert ROW.versions["no-such-package"] == "not installed"
    assert {"numpy", "python", "processor", "cores"} <= set(ROW.versions)


def test_the_target_is_compared_with_the_median() -> None:
    pairs = Pairs((1.0, 1.0, 1.0), (4.9, 4.9, 100.0))
    assert Row.measured(TASK, pairs).met is False
    assert Row.measured(replace(TASK, target=None), pairs).met is None


def test_without_a_peer_the_target_is_the_most_seconds() -> None:
    start = Task("start-help", "help", "", 1, "command", "run", target=0.3, sized=False)
    assert start.name == "start-help"
    assert [Row.measured(start, Pairs((seconds,))).met for seconds in (0.29, 0.31)] == [True, False]


def test_what_failed_has_missed_its_target_and_says_why_in_one_line() -> None:
    row = Row.failed(TASK, "No module\n named  FPSim2")
    assert (row.error, row.met, row.ratio_median) == ("No module named FPSim2", False, None)
    assert Row.failed(replace(TASK, target=None), "x").met is None


@pytest.mark.parametrize(
    ("size", "text"),
    [(1_000_000, "1m"), (200_000, "200k"), (41_600_000, "41.6m"), (10_000_000, "10m"), (20, "20"), (2e9, "2b")],
)
def test_sizes_are_named_shortly(size: float, text: str) -> None:
    assert shorten(size) == text


def test_rows_survive_their_file(tmp_path: Path) -> None:
    rows = [ROW, Row.failed(replace(TASK, peer="smbt"), "µ not installed")]
    write_rows(tmp_path / "new" / "rows.json", rows)
    assert read_rows(tmp_path / "new" / "rows.json") == rows
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["rows.json"]


def test_the_file_has_the_promised_keys(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.json", [ROW])
    [value] = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    promised = {"name", "peer", "size", "ratio_min", "ratio_median", "ratio_max", "target", "met", "versions"}
    assert promised <= set(value) == {field.name for field in fields(Row)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "not a list"),
        ("[", "Expecting value"),
        ("[3]", "a row is an object"),
        ('[{"name": "a"}]', "missing"),
        (json.dumps([asdict(ROW) | {"speed": 3}]), "unknown keys speed"),
        (json.dumps([asdict(ROW) | {"error": "and yet"}]), "either a number"),
        (json.dumps([asdict(ROW) | {"ratio_median": None}]), "either a number"),
    ],
)
def test_a_bad_file_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_rows(path)


def test_new_rows_replace_those_of_the_same_name_and_peer() -> None:
    other = replace(ROW, peer="RDKit bulk")
    again = replace(ROW, ratio_median=9.0)
    assert [(row.peer, row.ratio_median) for row in merge_rows([ROW, other], [again])] == [
        ("FPSim2", 9.0),
        ("RDKit bulk", 6.0),
    ]


def test_growth_is_fitted_over_the_sizes_of_one_job_and_peer() -> None:
    def row(size: int, peer: str, ours: float, theirs: float) -> Row:
        return Row.measured(replace(TASK, size=size, peer=peer), Pairs((ours,), (theirs,)))

    rows = [row(10**n, "FPSim2", 2.0**n, 10.0**n) for n in (3, 4, 5)] + [row(1_000, "smbt", 1.0, 1.0)]
    merged = merge_rows([], rows)
    for found in merged:
        expected = (None, None) if found.peer == "smbt" else (pytest.approx(0.30103, abs=1e-5), pytest.approx(1.0))
        assert (found.exponent, found.peer_exponent) == expected


def test_rows_of_other_scripts_are_filled_in(tmp_path: Path) -> None:
    loose = {"name": "decoding int8 batch 1", "peer": "ctranslate2", "size": "6.6 M parameters", "target": 1.0}
    loose |= {"ratio_min": 1.1, "ratio_median": 1.2, "ratio_max": 1.3, "ours": 4_000.0, "theirs": 2_000.0}
    path = tmp_path / "rows.json"
    for text in (json.dumps([loose]), json.dumps(loose) + "\n" + json.dumps(loose | {"peer": "transformers"}) + "\n"):
        path.write_text(text, encoding="utf-8")
        row = read_loose_rows(path, "decode")[0]
        assert (row.name, row.job) == ("decode-decoding-int8-batch-1-6.6-m-parameters", "decode-decoding-int8-batch-1")
        assert (row.size, row.unit, row.met) == (6.6e6, "parameters", True)
        assert (row.seconds_median, row.peer_seconds_median, row.ratio_median) == (1 / 4_000, 1 / 2_000, 1.2)


def test_a_loose_row_without_its_ratio_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text('[{"name": "training", "peer": "Trainer", "size": "small"}]', encoding="utf-8")
    with pytest.raises(ValueError, match="row training: without ratio_min, ratio_median, ratio_max"):
        read_loose_rows(path, "train")


@pytest.mark.parametrize(
    ("size", "expected"),
    [(5, (5.0, "")), ("small", (1.0, "small")), ("16,000 rows", (16_000.0, "rows")), ("2 k", (2_000.0, ""))],
)
def test_sizes_in_words_are_read(size: object, expected: tuple[float, str]) -> None:
    assert split_size(size) == expected
