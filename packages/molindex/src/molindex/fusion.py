"""Several rankings of the same rows made into one."""

from __future__ import annotations

from collections.abc import Sequence

from molindex.errors import InputError
from molindex.neighbours import Neighbour


def fuse_reciprocal_rank(rankings: Sequence[Sequence[Neighbour]], k: int, constant: int = 60) -> list[Neighbour]:
    """Reciprocal rank fusion: each row scores the sum of 1 / (constant + rank) over the rankings that hold it.

    Source: Cormack, Clarke and Buettcher, "Reciprocal rank fusion outperforms Condorcet and individual rank learning
    methods", SIGIR 2009 (60 is their constant). Ranks start at 1. Only ranks count, so the rankings' scales may differ.

    Args:
        rankings: Each with the nearest first. Rows are told apart by key, since two indexes of one table may have left
            out different bad rows.
        k: The most to return.
        constant: Larger values flatten the advantage of the first ranks.

    Returns:
        At most k, best first; `row` is the one of the first ranking that holds the key. Ties go to the lower row, then
        to the key that was seen first.

    Raises:
        InputError: k is below 1 or the constant is negative.
    """
    if k < 1 or constant < 0:
        raise InputError(f"k must be at least 1 and the constant at least 0, got {k} and {constant}")
    rows: dict[str, int] = {}
    scores: dict[str, float] = {}
    for ranking in rankings:
        # A key that stands twice in one ranking counts once, at its better rank.
        distinct = {neighbour.key: neighbour.row for neighbour in reversed(ranking)}
        ordered = list(dict.fromkeys(neighbour.key for neighbour in ranking))
        for rank, key in enumerate(ordered, start=1):
            rows.setdefault(key, distinct[key])
            scores[key] = scores.get(key, 0.0) + 1.0 / (constant + rank)
    best = sorted(scores, key=lambda key: (-scores[key], rows[key]))[:k]
    return [Neighbour(rows[key], key, scores[key]) for key in best]
