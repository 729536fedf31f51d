"""One row of the benchmark: a job of some size, beside one peer; and the file that holds the rows."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.pairs import Clock, Pairs, Spread, fit_exponent


@dataclass(frozen=True)
class Task:
    """What is to be measured.

    Attributes:
        job: the rows of one job and peer, of different sizes, show how cost grows.
        what: the job in words.
        peer: the program that ours stands beside; empty where there is none and the target is in seconds.
        size: of the input, in `unit`.
        unit: molecules, seconds of audio, parameters, ...
        per: what the seconds are for one of: query, second of audio, run.
        target: the least ratio wanted; without a peer the most seconds; None where nothing is promised.
        sized: whether the name ends in the size. A job of a single size needs no such ending.
    """

    job: str
    what: str
    peer: str
    size: float
    unit: str
    per: str
    target: float | None = None
    sized: bool = True

    def __post_init__(self) -> None:
        if not self.job or self.size <= 0:
            raise ValueError(f"a task has a job and a size above 0, got {self}")

    @property
    def name(self) -> str:
        """Of job and size, as the command line takes it: search-1m."""
        return f"{self.job}-{shorten(self.size)}" if self.sized else self.job


def shorten(size: float) -> str:
    """A size in few letters: 1000000 is 1m, 41600000 is 41.6m, 200000 is 200k."""
    for letter, value in (("b", 1e9), ("m", 1e6), ("k", 1e3)):
        if size >= value:
            return f"{size / value:.4g}{letter}"
    return f"{size:.4g}"


@dataclass(frozen=True)
class Row:
    """What was measured, or why not.

    Attributes:
        name, job, what, peer, size, unit, per, target: as in `Task`.
        seconds_min, seconds_median, seconds_max: of ours; None if it failed, or if only the ratio is known.
        peer_seconds_median: of the peer.
        ratio_min, ratio_median, ratio_max: peer's seconds by ours, of neighbouring turns.
        met: whether the median reaches the target; None without target, False if it failed.
        equal: whether both sides gave the same; None if that cannot be compared.
        exponent, peer_exponent: p of seconds = c * size ** p over the rows of this job; None below two sizes.
        clock: whose seconds, see `pairs.now`.
        note: what a reader must know to judge the number.
        error: why there is no number; empty if there is one.
        versions: of the packages at work, of Python, and the processor.
    """

    name: str
    job: str
    what: str
    peer: str
    size: float
    unit: str
    per: str
    target: float | None
    seconds_min: float | None = None
    seconds_median: float | None = None
    seconds_max: float | None = None
    peer_seconds_median: float | None = None
    ratio_min: float | None = None
    ratio_median: float | None = None
    ratio_max: float | None = None
    met: bool | None = None
    equal: bool | None = None
    exponent: float | None = None
    peer_exponent: float | None = None
    clock: str = "wall"
    note: str = ""
    error: str = ""
    versions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        number = self.ratio_median if self.peer else self.seconds_median
        if (number is None) != bool(self.error):
            raise ValueError(f"row {self.name}: either a number (with a peer, a ratio) or an error")

    @property
    def key(self) -> tuple[str, str]:
        """A later row of the same name and peer replaces an earlier one."""
        return self.name, self.peer

    @classmethod
    def measured(
        cls,
        task: Task,
        pairs: Pairs,
        *,
        equal: bool | None = None,
        note: str = "",
        packages: Sequence[str] = (),
        clock: Clock = "wall",
    ) -> Row:
        """A row of numbers.

        Args:
            task: what was measured.
            pairs: the seconds.
            equal: see the attribute.
            note: see the attribute.
            packages: distributions whose versions matter.
            clock: whose seconds.
        """
        ours, ratios = Spread.of(pairs.ours), Spread.of(pairs.ratios) if pairs.theirs else None
        if task.target is None:
            met = None
        else:
            met = ours.median <= task.target if ratios is None else ratios.median >= task.target
        return cls(
            **_describe(task),
            seconds_min=ours.least,
            seconds_median=ours.median,
            seconds_max=ours.greatest,
            peer_seconds_median=Spread.of(pairs.theirs).median if pairs.theirs else None,
            ratio_min=None if ratios is None else ratios.least,
            ratio_median=None if ratios is None else ratios.median,
            ratio_max=None if ratios is None else ratios.greatest,
            met=met,
            equal=equal,
            clock=clock,
            note=note,
            versions=name_versions(packages),
        )

    @classmethod
    def failed(cls, task: Task, error: str) -> Row:
        """A row that says why there is no number."""
        reason = " ".join(error.split()) or "no reason given"
        return cls(**_describe(task), met=None if task.target is None else False, error=reason)

    @classmethod
    def parse(cls, values: object) -> Row:
        """The inverse of `asdict`.

        Raises:
            ValueError: it is not an object with the keys of a row.
        """
        if not isinstance(values, dict):
            raise ValueError(f"a row is an object, not {values!r}")
        known = {field.name for field in fields(cls)}
        if unknown := set(values) - known:
            raise ValueError(f"row {values.get('name')}: unknown keys {', '.join(sorted(unknown))}")
        try:
            return cls(**values)
        except TypeError as error:
            raise ValueError(f"row {values.get('name')}: {error}") from error


def _describe(task: Task) -> dict[str, Any]:
    """What a row takes over from its task."""
    kept = {name: getattr(task, name) for name in ("job", "what", "peer", "size", "unit", "per", "target")}
    return {"name": task.name, **kept}


def name_versions(packages: Sequence[str]) -> dict[str, str]:
    """Versions of distributions, of Python, and what processor this is."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found | {"python": platform.python_version(), "processor": name_processor(), "cores": str(os.cpu_count())}


def name_processor() -> str:
    """The processor as the system names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def read_rows(path: Path) -> list[Row]:
    """Read a file of rows.

    Raises:
        ValueError: it is not a JSON list of rows.
    """
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(values, list):
        raise ValueError(f"{path}: not a list of rows")
    return [Row.parse(value) for value in values]


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as a JSON list, atomically."""
    text = json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.half")
    with half.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    half.replace(path)


def merge_rows(before: Iterable[Row], now: Iterable[Row]) -> list[Row]:
    """Rows of both by job and size, those of `now` in place of older ones, with exponents fitted anew."""
    rows = {row.key: row for row in before} | {row.key: row for row in now}
    return fit_growth(sorted(rows.values(), key=lambda row: (row.job, row.peer, row.size)))


def fit_growth(rows: Sequence[Row]) -> list[Row]:
    """The same rows with the exponents of their job and peer."""
    fitted = []
    for row in rows:
        group = [other for other in rows if (other.job, other.peer) == (row.job, row.peer)]
        ours = [(other.size, other.seconds_median) for other in group if other.seconds_median is not None]
        theirs = [(other.size, other.peer_seconds_median) for other in group if other.peer_seconds_median is not None]
        fitted.append(
            replace(
                row,
                exponent=fit_exponent([size for size, _ in ours], [seconds for _, seconds in ours]),
                peer_exponent=fit_exponent([size for size, _ in theirs], [seconds for _, seconds in theirs]),
            )
        )
    return fitted
