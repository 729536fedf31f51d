"""Rows are chosen by name, a case or a script that breaks is named and stops nothing, old rows are kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bench.pairs import Pairs
from bench.rows import Row, Task, read_rows
from bench.run import SUITES, Asked, Loose, Suite, choose_suites, keep_rows, list_options, run_suite
from bench.suite import CannotMeasure, Case, Measured, Options, measure_case, parse_options, tell_row

ROOT = Path(__file__).parents[2]
TASK = Task("search", "exact top 10", "FPSim2", 1_000, "molecules", "query", target=5.0)

SCRIPT = """
import sys
from bench.pairs import Pairs
from bench.rows import Task
from bench.suite import CannotMeasure, Case, Measured, run_script

def breaks():
    raise KeyError("what a peer throws")

def lacks():
    raise CannotMeasure("peer-of-nobody is not installed")

def cases(options):
    sizes = (1,) if options.quick else (10, 20)
    for size in sizes:
        for peer, measure in (("bad", breaks), ("absent", lacks), ("good", lambda: Measured(Pairs((1.0,), (3.0,))))):
            yield Case(Task("demo", "a job", peer, size, "things", "thing", 2.0), measure)
    LAST

run_script("a demo", cases)
"""


def script(folder: Path, last: str = "pass") -> Path:
    path = folder / "demo_script.py"
    path.write_text(SCRIPT.replace("LAST", last), encoding="utf-8")
    return path


def test_a_case_that_breaks_becomes_a_row_and_the_others_are_measured(tmp_path: Path) -> None:
    rows = run_suite(Suite("demo", (str(script(tmp_path)),)), Asked(quick=True))
    assert [(row.name, row.peer, row.met) for row in rows] == [
        ("demo-1", "bad", False),
        ("demo-1", "absent", False),
        ("demo-1", "good", True),
    ]
    assert [row.error for row in rows] == ["KeyError: 'what a peer throws'", "peer-of-nobody is not installed", ""]


def test_a_script_that_dies_leaves_its_rows_and_one_that_says_so(tmp_path: Path) -> None:
    rows = run_suite(Suite("demo", (str(script(tmp_path, "sys.exit(7)")),)), Asked(names=("demo-20",)))
    assert [row.name for row in rows] == ["demo-20"] * 3 + ["demo"]
    assert rows[-1].error == "its script ended with exit status 7"


def test_a_script_without_rows_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nothing.py"
    path.write_text("", encoding="utf-8")
    [row] = run_suite(Suite("demo", (str(path),)), Asked())
    assert "rows.json" in row.error


@pytest.mark.parametrize(
    ("only", "wanted"),
    [
        ((), ["search-1k", "search-batch-1k", "searching"]),
        (("search",), ["search-1k", "search-batch-1k"]),
        (("search-1k",), ["search-1k"]),
        (("search-batch", "searching"), ["search-batch-1k", "searching"]),
    ],
)
def test_rows_are_chosen_by_name_or_by_its_beginning(only: tuple[str, ...], wanted: list[str]) -> None:
    options = Options(Path("rows.json"), only=only)
    assert [name for name in ("search-1k", "search-batch-1k", "searching") if options.wants(name)] == wanted


def test_only_suites_that_are_asked_for_run() -> None:
    assert [suite.subject for suite in choose_suites(SUITES, ["search-1m", "train"])] == ["search", "train"]
    assert choose_suites(SUITES, []) == list(SUITES)
    assert choose_suites(SUITES, ["nothing"]) == []


def test_a_script_gets_the_options_that_it_takes() -> None:
    out = Path("rows.json")
    asked = Asked(("search-1m",), quick=True, turns=3, clock="processor", bundle=Path("/bundle"))
    arguments = list_options(Suite("search", ("x.py",)), asked, out)
    expected = Options(out, quick=True, turns=3, clock="processor", only=("search-1m",), bundle=Path("/bundle"))
    assert parse_options("", arguments) == expected
    loose = Suite("train", ("x.py",), loose=Loose(("--drafts",), ("--steps", "2")))
    assert list_options(loose, asked, out) == ["--json", "rows.json", "--rounds", "3", "--drafts", "--steps", "2"]


def test_results_are_kept_and_those_of_a_repaired_suite_are_not_called_broken(tmp_path: Path) -> None:
    whole = Task("search", "the whole suite", "", 1, "", "run", sized=False)
    other = Row.measured(Task("build", "an index", "FPSim2", 10, "molecules", "run"), Pairs((1.0,), (2.0,)))
    keep_rows(tmp_path, [other, Row.failed(whole, "it died")])
    keep_rows(tmp_path, [Row.measured(TASK, Pairs((1.0,), (6.0,)))])
    assert [row.name for row in read_rows(tmp_path / "results.json")] == ["build-10", "search-1k"]
    assert "search-1k" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_a_row_is_told_in_one_line() -> None:
    good = measure_case(Case(TASK, lambda: Measured(Pairs((2e-3,), (1e-2,)), True, "why")), "wall")
    assert tell_row(good) == (
        "search-1k beside FPSim2: 2 ms a query, 5.00 times as fast (5.00 to 5.00), target 5 times met, same result; why"
    )

    def lack() -> Measured:
        raise CannotMeasure("no peer")

    assert tell_row(measure_case(Case(TASK, lack), "wall")) == "search-1k beside FPSim2: not measured: no peer"


def test_an_unknown_name_is_refused_with_those_that_exist(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.run", "serch-1m", "--out", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "search, build, captions" in ended.stderr


def test_what_is_committed_can_be_read_and_every_target_stands_on_its_row() -> None:
    path = ROOT / "bench" / "results.json"
    if not path.exists():
        pytest.skip("no figures were taken yet")
    for value in json.loads(path.read_text(encoding="utf-8")):
        row = Row.parse(value)
        if row.target is not None and not row.error:
            reached = row.ratio_median if row.peer else -(row.seconds_median or 0.0)
            assert reached is not None
            assert row.met == (reached >= (row.target if row.peer else -row.target)), row.name
