"""Retrieval by words: descriptions that say the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from molregpt.errors import InputError
from molregpt.records import Example
from molregpt.retrieval.base import NO_ROWS

if TYPE_CHECKING:
    from molregpt.database import Database

TOKENIZERS: dict[str, Literal["chemistry", "whitespace", "char"]] = {"bm25": "chemistry", "char-bm25": "char"}


class CaptionRetriever:
    """Finds descriptions by BM25."""

    def __init__(self, database: Database, name: Literal["bm25", "char-bm25"]) -> None:
        self._name = name
        self._pairs = database.pairs
        self._index = database.caption_index(TOKENIZERS[name])

    @property
    def identity(self) -> str:
        """See `Retriever`."""
        return f"{self._name}({TOKENIZERS[self._name]} tokens)"

    def retrieve(self, query: str, count: int, exclude: frozenset[int] = NO_ROWS) -> list[Example]:
        """See `Retriever`; the similarity is the BM25 score, which is comparable within one query only."""
        if not query.strip():
            raise InputError("the description is empty")
        found = self._index.search(query, count, exclude=[str(row) for row in exclude])
        return [Example(self._pairs[int(near.key)], near.similarity) for near in found]
