"""What every retrieval strategy does."""

from __future__ import annotations

from typing import Protocol

from molregpt.records import Example

NO_ROWS: frozenset[int] = frozenset()


class Retriever(Protocol):
    """Finds the pairs of a pool that are most like a query."""

    @property
    def identity(self) -> str:
        """The strategy with everything that changes its results, as a run folder records it."""
        ...

    def retrieve(self, query: str, count: int, exclude: frozenset[int] = NO_ROWS) -> list[Example]:
        """The most similar pairs.

        Args:
            query: A SMILES for the molecule strategies, a description for the text strategies.
            count: How many pairs are wanted.
            exclude: Rows of the pool that must not be found.

        Returns:
            Up to `count` examples, the most similar first; equal similarities in the order of the pool.

        Raises:
            InputError: The query is a SMILES that RDKit does not read, or a text without a single word.
        """
        ...
