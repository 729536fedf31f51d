"""Time two ways of doing one thing in turn, A B A B, and say how much faster one is.

The two sides take turns, so that whatever else slows the machine for a while slows both; each ratio is that of
neighbours. A first, untimed turn of each warms caches and gives the results that are compared.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar, get_args

Clock = Literal["wall", "processor"]
Ours = TypeVar("Ours")
Theirs = TypeVar("Theirs")


@dataclass(frozen=True)
class Spread:
    """Least, median and greatest of some numbers."""

    least: float
    median: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one number."""
        return cls(min(values), statistics.median(values), max(values))


@dataclass(frozen=True)
class Pairs:
    """Seconds of both sides, turn by turn, for one unit of work each.

    Attributes:
        ours: one number a turn.
        theirs: the peer's, as many; none where there is no peer.
    """

    ours: tuple[float, ...]
    theirs: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.ours or (self.theirs and len(self.theirs) != len(self.ours)):
            raise ValueError(f"{len(self.ours)} turns of ours and {len(self.theirs)} of theirs are no pairs")
        if min(self.ours + self.theirs) <= 0:
            raise ValueError("a turn took no time: give it more work")

    @property
    def ratios(self) -> tuple[float, ...]:
        """How many times as long as ours the peer's neighbouring turn took."""
        return tuple(theirs / ours for ours, theirs in zip(self.ours, self.theirs, strict=True)) if self.theirs else ()


@dataclass(frozen=True)
class Compared(Generic[Ours, Theirs]):
    """The times of both sides, and what each gave in its first, untimed turn."""

    pairs: Pairs
    ours: Ours
    theirs: Theirs


def run_pairs(
    ours: Callable[[], Ours],
    theirs: Callable[[], Theirs],
    *,
    turns: int,
    work: float = 1.0,
    theirs_work: float | None = None,
    clock: Clock = "wall",
) -> Compared[Ours, Theirs]:
    """Run both sides in turn.

    Args:
        ours: one turn.
        theirs: the peer's.
        turns: of each side, beside the first, untimed one.
        work: units of work in a turn (queries, seconds of audio): times are given for one.
        theirs_work: of the peer's turn, where it does less because it is slow.
        clock: see `now`.
    """
    our_result, their_result = ours(), theirs()
    our_seconds, their_seconds = [], []
    for _ in range(turns):
        our_seconds.append(time_call(ours, clock) / work)
        their_seconds.append(time_call(theirs, clock) / (theirs_work or work))
    return Compared(Pairs(tuple(our_seconds), tuple(their_seconds)), our_result, their_result)


def time_call(call: Callable[[], object], clock: Clock = "wall") -> float:
    """Seconds that a call takes."""
    begin = now(clock)
    call()
    return now(clock) - begin


def now(clock: Clock) -> float:
    """Seconds since some moment.

    `wall` is what a user waits. `processor` is the processor time of this process, all its threads, and of its ended
    children: for a machine that is busy with other things, where waiting says little.
    """
    if clock == "wall":
        return time.perf_counter()
    if clock not in get_args(Clock):
        raise ValueError(f"unknown clock {clock!r}; known are {', '.join(get_args(Clock))}")
    import resource  # Not on Windows, and wanted by this clock alone.

    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def fit_exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float | None:
    """The p of seconds = c * size ** p: the slope of a straight line through the logarithms, by least squares.

    Returns:
        None when there are fewer than two different sizes.
    """
    if len(set(sizes)) < 2:
        return None
    fit = statistics.linear_regression([math.log(size) for size in sizes], [math.log(value) for value in seconds])
    return fit.slope
