"""Retrieval by fingerprints: molecules that look like the query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from molregpt.fingerprints import FINGERPRINTS
from molregpt.records import Example
from molregpt.retrieval.base import NO_ROWS

if TYPE_CHECKING:
    from molregpt.database import Database


class FingerprintRetriever:
    """Finds molecules by the similarity of their fingerprints."""

    def __init__(self, database: Database, name: Literal["morgan", "rdkit"]) -> None:
        self._fingerprint, self._metric = FINGERPRINTS[name]
        self._pairs = database.pairs
        self._index = database.molecule_index(self._fingerprint)

    @property
    def identity(self) -> str:
        """See `Retriever`."""
        return f"{self._fingerprint} by {self._metric}"

    def retrieve(self, query: str, count: int, exclude: frozenset[int] = NO_ROWS) -> list[Example]:
        """See `Retriever`; the similarity is Dice or Tanimoto, 0 to 1."""
        found = self._index.search(query, count, metric=self._metric, exclude=[str(row) for row in exclude])
        # The index knows each molecule by its row in the pool.
        return [Example(self._pairs[int(near.key)], near.similarity) for near in found]
