"""Dice and Tanimoto from counts of bits, and back. Letters: see `exact`."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Metric = Literal["dice", "tanimoto"]

# Distances and counts are whole numbers; bounds are loosened by this much so that rounding cannot make them strict.
_ROUNDING = 1e-6


def least_shared(total: NDArray[np.int32], threshold: float | NDArray[np.float64], metric: Metric) -> NDArray[np.int32]:
    """The fewest shared bits c with which similarity reaches the threshold, from the sum of both counts a + b."""
    shared = threshold * total / 2 if metric == "dice" else threshold * total / (1 + threshold)
    return np.ceil(shared - _ROUNDING).astype(np.int32)


def similarity_of(shared: NDArray[np.int32], total: NDArray[np.int32], metric: Metric) -> NDArray[np.float64]:
    """Similarity from the shared bits c and the sum of both counts a + b, float64 of the same shape."""
    # Whole numbers divided once in double precision: the same rounding as RDKit's, to the last bit.
    if metric == "dice":
        upper, lower = 2.0 * shared, total
    else:
        upper, lower = shared.astype(np.float64), total - shared
    similarities = np.zeros(len(total))
    np.divide(upper, lower, out=similarities, where=lower > 0)
    return similarities
