"""Run the benchmark: `python -m bench.run [NAME ...] [--quick]`, or `nox -s bench -- [NAME ...] [--quick]`.

Each suite is a script in a process of its own, so that none slows or stops another. Rows that were measured replace
those of the same name in results.json; the others stay, and the page is made anew from all.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from bench.loose_rows import read_loose_rows
from bench.page import write_page
from bench.pairs import Clock
from bench.rows import Row, Task, merge_rows, read_rows, write_rows

ROOT = Path(__file__).parents[1]
FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Loose:
    """Options of a script that does not take those of `bench.suite`; rounds are turns.

    Attributes:
        always: given at all times.
        quick: given for small sizes.
        clock: whether it takes --clock.
    """

    always: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    clock: bool = False


@dataclass(frozen=True)
class Suite:
    """A script that writes rows.

    Attributes:
        subject: names of its rows begin with it.
        command: what Python runs.
        threads: cores that it may use; most figures are for one.
        loose: how to ask a script that has options of its own (its rows: see `loose_rows`).
    """

    subject: str
    command: tuple[str, ...]
    threads: int = 1
    loose: Loose | None = None


SUITES = (
    Suite("search", ("-m", "bench.suites.search")),
    Suite("build", ("-m", "bench.suites.build"), threads=2),
    Suite("captions", ("-m", "bench.suites.captions")),
    Suite("units", ("-m", "bench.suites.units")),
    Suite("speech", ("-m", "bench.suites.speech")),
    Suite("start", ("-m", "bench.suites.start"), threads=2),
    Suite(
        "decode",
        ("shared/benchmarks/decoding_speed.py",),
        threads=2,
        loose=Loose(
            ("--drafts", "--threads", "1", "2"),
            ("--sizes", "small", "--precisions", "fp32", "--tokens", "64"),
            clock=True,
        ),
    ),
    Suite("drafts", ("-m", "bench.suites.drafts")),
    Suite("train", ("shared/benchmarks/training_speed.py",), loose=Loose(quick=("--steps", "2"))),
)


@dataclass(frozen=True)
class Asked:
    """What the user asked for; see the command's help."""

    names: tuple[str, ...] = ()
    quick: bool = False
    turns: int = 5
    clock: Clock = "wall"
    bundle: Path | None = None


def main() -> None:
    """Parse the command line, run what was asked for, write results and page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="rows, or what their names begin with; all by default")
    parser.add_argument("--quick", action="store_true", help="small sizes; results go to bench/quick")
    parser.add_argument("--turns", type=int, default=5, help="of each side")
    parser.add_argument("--clock", choices=get_args(Clock), default="wall")
    parser.add_argument("--bundle", type=Path, help="folder of trained speech models; the shipped one by default")
    parser.add_argument("--out", type=Path, help="folder of results.json and index.html")
    found = parser.parse_args()
    suites = choose_suites(SUITES, found.names)
    if not suites:
        parser.error(f"no row is called so; names begin with {', '.join(suite.subject for suite in SUITES)}")
    folder = found.out or (FOLDER / "quick" if found.quick else FOLDER)
    asked = Asked(tuple(found.names), found.quick, found.turns, found.clock, found.bundle)
    for suite in suites:
        # Kept after each suite: a run of hours may be stopped at any time.
        keep_rows(folder, run_suite(suite, asked))
    print(f"look at {folder / 'index.html'}")


def choose_suites(suites: Sequence[Suite], names: Sequence[str]) -> list[Suite]:
    """Those that have rows of these names; all if no name is given."""
    subjects = {name.partition("-")[0] for name in names}
    return [suite for suite in suites if not names or suite.subject in subjects]


def list_options(suite: Suite, asked: Asked, out: Path) -> list[str]:
    """The command line of a suite's script."""
    if suite.loose is not None:
        options = ["--json", str(out), "--rounds", str(asked.turns), *suite.loose.always]
        options += suite.loose.quick if asked.quick else ()
        return options + (["--clock", asked.clock] if suite.loose.clock else [])
    options = ["--out", str(out), "--turns", str(asked.turns), "--clock", asked.clock]
    options += ["--quick"] if asked.quick else []
    options += ["--bundle", str(asked.bundle.resolve())] if asked.bundle else []
    return options + (["--only", *asked.names] if asked.names else [])


def run_suite(suite: Suite, asked: Asked) -> list[Row]:
    """Run a suite's script; if it breaks, the rows that it has written, and one that says so."""
    print(f"== {suite.subject}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rows.json"
        ended = subprocess.run(  # noqa: S603 - a script of this tree
            [sys.executable, *suite.command, *list_options(suite, asked, out)],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": str(suite.threads), "PYTHONPATH": str(ROOT)},
            check=False,
        )
        rows: list[Row] = []
        error = "" if ended.returncode == 0 else f"its script ended with exit status {ended.returncode}"
        try:
            rows = read_loose_rows(out, suite.subject)
        except (OSError, ValueError) as reason:
            error = error or str(reason)
    if error:
        print(f"{suite.subject}: {error}", file=sys.stderr)
        broken = Task(suite.subject, "the whole suite", "", 1, "", "run", sized=False)
        rows.append(Row.failed(broken, error))
    return rows


def keep_rows(folder: Path, rows: Sequence[Row]) -> None:
    """Put rows into the folder's results.json, and make its page anew."""
    path = folder / "results.json"
    before = read_rows(path) if path.exists() else []
    # A suite that works again leaves no row that says it is broken.
    working = {row.name.partition("-")[0] for row in rows if not row.error}
    kept = [row for row in before if not (row.error and row.name in working)]
    merged = merge_rows(kept, rows)
    write_rows(path, merged)
    write_page(folder, merged)


if __name__ == "__main__":
    main()
