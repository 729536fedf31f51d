"""Run lengths that have to add up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from speechunits.runs import Units


def scale_lengths(lengths: NDArray[np.float64] | Units, total: int) -> Units:
    """Whole run lengths in the proportions of `lengths` that add up to `total` frames.

    Args:
        lengths: `[S]`, positive.
        total: frames; where it is less than S, the result has S frames, since each unit lasts at least one.

    Returns:
        `[S]` int64, each at least 1: the exact shares rounded down, and the frames that are left given to the largest
        remainders.
    """
    if not lengths.size:
        return np.zeros(0, np.int64)
    # The one frame that each gets is taken off first, so that no share is rounded below it.
    spare = max(total - lengths.size, 0)
    weights = np.maximum(lengths * (total / lengths.sum()) - 1.0, 0.0)
    shares = weights * (spare / weights.sum()) if weights.sum() > 0 else np.full(lengths.size, spare / lengths.size)
    whole: Units = np.floor(shares).astype(np.int64)
    left = spare - int(whole.sum())
    # A stable sort: of equal remainders the earlier unit gets the frame, on every machine.
    whole[np.argsort(whole - shares, kind="stable")[:left]] += 1
    whole += 1
    return whole
