"""How much of a description a systematic name says, and how much of the name the description does."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

from molindex.tokenization import tokenize
from molregpt.relevance.molecules import UNNAMED


def cut_pieces(text: str) -> frozenset[str]:
    """All pieces of five characters, in lower case."""
    return frozenset(tokenize(text, "pieces"))


class NameOverlap:
    """Compares names of candidates with a description.

    A piece that many of the names have tells little of which is meant: pieces count by how rare they are among them.
    """

    def __init__(self, description: str, names: Iterable[str]) -> None:
        """Be ready to compare `names`, and others like them, with `description`."""
        self._said = cut_pieces(description)
        known = {name: cut_pieces(name) & self._said for name in set(names) if name}
        counts = Counter(piece for pieces in known.values() for piece in pieces)
        self._weights = {piece: math.log((len(known) + 1) / (count + 0.5)) for piece, count in counts.items()}
        self._total = sum(self._weights.values())

    def named(self, name: str) -> float:
        """Share of the name that occurs in the description, 0 to 1."""
        pieces = cut_pieces(name)
        return len(pieces & self._said) / len(pieces) if pieces else UNNAMED

    def covers(self, name: str) -> float:
        """Share of what any of the names says of the description that this one says, 0 to 1."""
        if not self._total:
            return 0.0
        return sum(self._weights.get(piece, 0.0) for piece in cut_pieces(name) & self._said) / self._total
