"""What the scripts that measure share: options, cases one after the other, and a row even where one fails.

A script is run as `python SCRIPT --out ROWS.json [--quick] [--turns N] [--clock CLOCK] [--only NAME ...]` and writes
the rows of all its cases whose names were asked for.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from bench.pairs import Clock, Pairs
from bench.rows import Row, Task, write_rows


@dataclass(frozen=True)
class Options:
    """What a script was asked for.

    Attributes:
        out: file for the rows.
        quick: small sizes, to see that everything works.
        turns: of each side.
        clock: see `pairs.now`.
        only: names, or beginnings of names up to a hyphen; empty for all.
        bundle: folder of trained speech models, for what needs one.
    """

    out: Path
    quick: bool = False
    turns: int = 5
    clock: Clock = "wall"
    only: tuple[str, ...] = ()
    bundle: Path | None = None

    def wants(self, name: str) -> bool:
        """Whether a row of this name was asked for."""
        return not self.only or any(name == wanted or name.startswith(f"{wanted}-") for wanted in self.only)


@dataclass(frozen=True)
class Measured:
    """What a case found; see `Row`."""

    pairs: Pairs
    equal: bool | None = None
    note: str = ""
    packages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """One row to be: what it is, and the call that measures it."""

    task: Task
    measure: Callable[[], Measured]


class CannotMeasure(Exception):  # noqa: N818 - not an error of the program
    """Something that a case needs is not there; the message says what."""


def run_script(description: str, cases: Callable[[Options], Iterable[Case]]) -> None:
    """Parse the command line, measure, write the rows after each case."""
    options = parse_options(description, sys.argv[1:])
    rows: list[Row] = []
    for case in cases(options):
        if options.wants(case.task.name):
            row = measure_case(case, options.clock)
            print(tell_row(row), flush=True)
            rows.append(row)
            write_rows(options.out, rows)
    write_rows(options.out, rows)


def parse_options(description: str, arguments: Sequence[str]) -> Options:
    """Read the command line of a script."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="file for the rows")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--turns", type=int, default=5, help="of each side")
    parser.add_argument("--clock", choices=get_args(Clock), default="wall")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="rows, or beginnings of their names")
    parser.add_argument("--bundle", type=Path, help="folder of trained speech models")
    found = parser.parse_args(arguments)
    if found.turns < 1:
        parser.error("--turns must be at least 1")
    clock = cast("Clock", found.clock)
    return Options(found.out, found.quick, found.turns, clock, tuple(found.only), found.bundle)


def measure_case(case: Case, clock: Clock) -> Row:
    """The row of one case; a failure becomes a row that names it."""
    try:
        found = case.measure()
    except CannotMeasure as reason:
        return Row.failed(case.task, str(reason))
    except Exception as error:  # Whatever a peer throws, the rows after it are wanted.
        return Row.failed(case.task, f"{type(error).__name__}: {error}")
    return Row.measured(
        case.task, found.pairs, equal=found.equal, note=found.note, packages=found.packages, clock=clock
    )


def tell_row(row: Row) -> str:
    """A row as one line of text."""
    beside = f" beside {row.peer}" if row.peer else ""
    if row.error:
        return f"{row.name}{beside}: not measured: {row.error}"
    figures = [] if row.seconds_median is None else [f"{tell_seconds(row.seconds_median)} a {row.per}"]
    if row.ratio_median is not None:
        figures.append(f"{row.ratio_median:.2f} times as fast ({row.ratio_min:.2f} to {row.ratio_max:.2f})")
    said = f"{row.name}{beside}: {', '.join(figures)}"
    if row.target is not None:
        wanted = f"{row.target:g} times" if row.peer else f"{row.target:g} s"
        said += f", target {wanted} {'met' if row.met else 'missed'}"
    if row.equal is not None:
        said += ", same result" if row.equal else ", RESULTS DIFFER"
    return f"{said}; {row.note}" if row.note else said


def tell_seconds(seconds: float) -> str:
    """Seconds with a unit that suits them."""
    for unit, value in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= value:
            return f"{seconds / value:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"
