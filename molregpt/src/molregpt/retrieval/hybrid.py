"""Several strategies fused into one ranking."""

from __future__ import annotations

from typing import TYPE_CHECKING

from molindex.fusion import fuse_reciprocal_rank
from molindex.neighbours import Neighbour
from molregpt.records import Example
from molregpt.retrieval.base import NO_ROWS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from molregpt.records import Pair
    from molregpt.retrieval.base import Retriever

_DEPTH = 100
"""Ranks of each part that take part: beyond that 1 / (60 + rank) changes little."""


class HybridRetriever:
    """Reciprocal rank fusion of other strategies; the similarity is the fused score."""

    def __init__(self, pairs: Sequence[Pair], parts: Sequence[Retriever]) -> None:
        self._pairs = pairs
        self._parts = parts
        self._rows = {pair.key: row for row, pair in enumerate(pairs)}

    @property
    def identity(self) -> str:
        """See `Retriever`."""
        return f"hybrid({' + '.join(part.identity for part in self._parts)})"

    def retrieve(self, query: str, count: int, exclude: frozenset[int] = NO_ROWS) -> list[Example]:
        """See `Retriever`."""
        rankings = [
            [
                Neighbour(self._rows[found.pair.key], found.pair.key, found.similarity)
                for found in part.retrieve(query, max(count, _DEPTH), exclude)
            ]
            for part in self._parts
        ]
        return [Example(self._pairs[near.row], near.similarity) for near in fuse_reciprocal_rank(rankings, count)]
