"""From rows to scores with bootstrap intervals.

Every score is a function of sums over rows (edits and words for an error rate, a sum and a count for a mean), so a
resampled score needs the resampled sums only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Score:
    """A score of a corpus.

    Attributes:
        value: the score.
        low: lower end of the 95 % percentile interval over resampled rows.
        high: upper end of it.
        n: rows that the score is made from, at least 1.
    """

    value: float
    low: float
    high: float
    n: int

    def as_json(self) -> Mapping[str, float | int]:
        """The four numbers by their names, rounded to six digits behind the point."""
        return {"value": round(self.value, 6), "low": round(self.low, 6), "high": round(self.high, 6), "n": self.n}


@dataclass(frozen=True, slots=True)
class Resampling:
    """How intervals are made: `samples` times as many rows as there are, drawn with replacement, from `seed`."""

    samples: int = 1000
    seed: int = 0


def score_sums(
    summands: Floats | Sequence[Sequence[float]], score: Callable[[Floats], Floats], resampling: Resampling
) -> Score | None:
    """Score a corpus by a function of sums over its rows.

    Args:
        summands: `[N, D]`, what each row adds.
        score: from sums `[R, D]` to R scores `[R]`.
        resampling: how the interval is made.

    Returns:
        The score, or None when there is no row.
    """
    rows = np.asarray(summands, dtype=np.float64)
    if len(rows) == 0:
        return None
    low, high = np.quantile(score(_draw(len(rows), resampling) @ rows), [0.025, 0.975])
    return Score(float(score(rows.sum(axis=0, keepdims=True))[0]), float(low), float(high), len(rows))


def score_mean(values: Sequence[float], resampling: Resampling) -> Score | None:
    """The mean of the rows' values; None when there is no row."""
    return score_ratio([(value, 1.0) for value in values], resampling)


def score_ratio(summands: Sequence[tuple[float, float]], resampling: Resampling) -> Score | None:
    """The sum of the rows' first numbers over the sum of their second, as in a word error rate.

    Args:
        summands: N pairs.
        resampling: how the interval is made.

    Returns:
        The score; 0.0 where the second numbers sum to 0; None when there is no row.
    """
    return score_sums(summands, _ratio, resampling)


@lru_cache(maxsize=2)
def _draw(rows: int, resampling: Resampling) -> Floats:
    """How often each row is drawn, `[R, N]`: all that a sum needs, and the same for every metric of the same rows."""
    generator = np.random.default_rng(resampling.seed)
    return generator.multinomial(rows, np.full(rows, 1 / rows), size=resampling.samples).astype(np.float64)


def _ratio(sums: Floats) -> Floats:
    result: Floats = np.divide(sums[:, 0], sums[:, 1], out=np.zeros(len(sums)), where=sums[:, 1] != 0)
    return result
