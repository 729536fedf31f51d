"""The control of every retrieval experiment: pairs drawn by chance."""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING

from molregpt.records import Example
from molregpt.retrieval.base import NO_ROWS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from molregpt.records import Pair


class RandomRetriever:
    """Draws pairs uniformly, without looking at the query's meaning; their similarity is given as 0."""

    def __init__(self, pairs: Sequence[Pair], seed: int) -> None:
        self._pairs = pairs
        self._seed = seed

    @property
    def identity(self) -> str:
        """See `Retriever`."""
        return f"random(seed={self._seed})"

    def retrieve(self, query: str, count: int, exclude: frozenset[int] = NO_ROWS) -> list[Example]:
        """See `Retriever`; the same query always draws the same pairs, in whatever order queries come."""
        # Seeded by the query itself, so that a resumed run draws what an uninterrupted one would have drawn.
        digest = hashlib.sha256(f"{self._seed}\n{query}".encode(errors="surrogatepass")).digest()
        generator = random.Random(digest)  # noqa: S311 - a draw of examples, not a secret
        wanted = min(count + len(exclude), len(self._pairs))
        rows = [row for row in generator.sample(range(len(self._pairs)), wanted) if row not in exclude]
        return [Example(self._pairs[row], 0.0) for row in rows[:count]]
