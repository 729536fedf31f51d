"""How many of a question's neighbours count for what, and how much."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from molregpt.relevance.likeness import cast_votes

COPIED = 5
"""Neighbours whose answers are drafts, and, where they are molecules, candidates."""

SUPPORTING = 10
"""Neighbours whose answers speak for an answer that is like them."""

_SHARPNESS = 0.05


def cast_by_relevance(relevance: Collection[float]) -> NDArray[np.float64]:
    """Shares `[N]` of one vote of neighbours that are so relevant each, 0 to 1."""
    return cast_votes(np.array(list(relevance)), _SHARPNESS) if relevance else np.zeros(0)
