"""From rows to scores with bootstrap intervals.

Every score is a function of sums over rows (n-gram counts for BLEU, a sum and a count for means), so a resampled score
needs the resampled sums only, and no text is looked at twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from molregpt.metrics import METRICS_VERSION
from molregpt.metrics.bleu import bleu_of_sums

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Score:
    """A score of a corpus.

    Attributes:
        value: The score; 0.0 when `n` is 0.
        low: Lower end of the 95 % percentile interval over resampled rows.
        high: Upper end of it.
        n: Rows that the score is made from.
    """

    value: float
    low: float
    high: float
    n: int

    def as_json(self) -> dict[str, float | int]:
        """The four numbers by their names."""
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}


@dataclass(frozen=True, slots=True)
class Resampling:
    """How intervals are made: `samples` times as many rows as there are, drawn with replacement, from `seed`."""

    samples: int = 1000
    seed: int = 0

    def as_json(self) -> dict[str, float | int]:
        """The settings, with the share of resampled scores that an interval spans."""
        return {"samples": self.samples, "seed": self.seed, "interval": 0.95}


DEFAULT_RESAMPLING = Resampling()


def score_rows(ngrams: Floats, orders: Sequence[int], values: Floats, resampling: Resampling) -> list[Score]:
    """Score a corpus from its rows.

    Args:
        ngrams: `[N, 10]`, the rows' `bleu.count_ngrams`.
        orders: The longest n-gram of each BLEU that is wanted.
        values: `[N, M]`, one column for each mean that is wanted; NaN where a row does not count.
        resampling: How the intervals are made.

    Returns:
        BLEU for each of `orders`, then the mean of each column of `values`.
    """
    rows, means = values.shape
    counted = np.isfinite(values)
    summands = np.hstack([ngrams, np.where(counted, values, 0.0), counted])

    def scores_of_sums(sums: Floats) -> Floats:
        ngram_sums, value_sums, counts = np.split(sums, [ngrams.shape[1], ngrams.shape[1] + means], axis=-1)
        bleus = [bleu_of_sums(ngram_sums, order)[..., None] for order in orders]
        return np.concatenate([*bleus, value_sums / np.maximum(counts, 1.0)], axis=-1)

    n = [rows] * len(orders) + counted.sum(axis=0).tolist()
    return score_sums(summands, scores_of_sums, n, resampling)


def score_sums(
    summands: Floats, scores_of_sums: Callable[[Floats], Floats], counts: Sequence[int], resampling: Resampling
) -> list[Score]:
    """Score a corpus by a function of sums over its rows.

    Args:
        summands: `[N, D]`, what each row adds.
        scores_of_sums: From sums `[..., D]` to K scores `[..., K]`.
        counts: The `n` of each of the K scores.
        resampling: How the intervals are made.
    """
    resampled = scores_of_sums(_resample_sums(summands, resampling))
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    return [
        Score(float(v), float(a), float(b), n)
        for v, a, b, n in zip(scores_of_sums(summands.sum(axis=0)), low, high, counts, strict=True)
    ]


def _resample_sums(summands: Floats, resampling: Resampling) -> Floats:
    """Sums over resampled rows, `[R, D]` from `[N, D]`."""
    generator = np.random.default_rng(resampling.seed)
    rows = len(summands)
    sums = np.empty((resampling.samples, summands.shape[1]))
    for sample in sums:
        # How often each row was drawn is all that a sum needs; the drawn rows themselves are never copied.
        sample[:] = np.bincount(generator.integers(0, rows, rows), minlength=rows) @ summands
    return sums


def library_versions(distributions: Iterable[str]) -> Mapping[str, str]:
    """Versions of what a score depends on: this package's metrics, then the named distributions."""
    return {"metrics": METRICS_VERSION} | {name: version(name) for name in distributions}
