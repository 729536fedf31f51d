"""Which directions a stage learns from a manifest, and its pairs in these directions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from polyvoice.corpus.copies import is_copy
from polyvoice.errors import InputError
from polyvoice.spoken import SpokenPair, reverse
from polyvoice.tasks import Direction


def find_directions(pairs: Iterable[SpokenPair], wanted: Sequence[str]) -> tuple[Direction, ...]:
    """The directions to learn: those that are wanted, else those of the pairs and their opposites.

    Raises:
        InputError: a direction is wanted that no pair has, in this order or the other.
    """
    pairs = list(pairs)
    back = (reverse(pair) for pair in pairs if not is_copy(pair.id))
    known = tuple(dict.fromkeys(map(_direction, (*pairs, *back))))
    if not wanted:
        return known
    chosen = tuple(dict.fromkeys(Direction.parse(text) for text in wanted))
    for way in chosen:
        if way not in known:
            raise InputError(f"no pair is of direction {way}; there are {', '.join(map(str, known))}")
    return chosen


def orient_pairs(pairs: Iterable[SpokenPair], directions: Sequence[Direction]) -> list[SpokenPair]:
    """Each pair in those of its two directions that are learned; an augmented copy only as it stands."""
    return [
        turned
        for pair in pairs
        for turned in ((pair,) if is_copy(pair.id) else (pair, reverse(pair)))
        if _direction(turned) in directions
    ]


def _direction(pair: SpokenPair) -> Direction:
    return Direction(pair.source.language, pair.target.language)
