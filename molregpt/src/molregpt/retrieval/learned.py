"""Retrieval in two steps: a search finds neighbours, and what was learned of answers sorts them."""

from __future__ import annotations

from collections.abc import Callable

from molregpt.naming import shared_namer
from molregpt.records import Direction, Example
from molregpt.relevance.network import DEPTH, Relevance, shipped_relevance
from molregpt.retrieval.base import NO_ROWS, Retriever


class LearnedRetriever:
    """Finds neighbours whose answers are likely to be like the right one."""

    def __init__(
        self,
        first: Retriever,
        direction: Direction,
        *,
        relevance: Relevance | None = None,
        name: Callable[[str], str] | None = None,
    ) -> None:
        """Sort what another strategy finds.

        Args:
            first: The direction's standard strategy.
            direction: What the queries are.
            relevance: What sorts; what ships with the package by default.
            name: Gives the systematic name of a molecule, or nothing; the shared namer by default.
        """
        self._first, self._direction = first, direction
        self._relevance = relevance or shipped_relevance()
        self._name = name or shared_namer()

    @property
    def identity(self) -> str:
        """See `Retriever`."""
        return f"{self._first.identity}, the first {DEPTH} sorted by relevance {self._relevance.digest}"

    def retrieve(self, query: str, count: int, exclude: frozenset[int] = NO_ROWS) -> list[Example]:
        """See `Retriever`; the similarity is the overlap to be expected of the answers, 0 to 1.

        A description that has no word in common with the query is not found.
        """
        found = self._first.retrieve(query, max(DEPTH, count), exclude)
        if self._direction == "cap2mol":
            found = [one for one in found if one.similarity > 0.0]
        return self._relevance.sort(self._direction, query, found, self._name)[:count]
