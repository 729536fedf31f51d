"""A caption beside molecules that have captions, in figures: what the texts share, and what the query says of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from molregpt.records import Pair
from molregpt.relevance.checks import check_properties
from molregpt.relevance.likeness import Ngrams, count_word_ngrams, share_ngrams
from molregpt.relevance.molecules import Profile

Floats = NDArray[np.float64]

UNKNOWN = 0.3
"""What stands for a share that cannot be taken because one side has nothing of its kind."""

_NUMBER, _WORD = re.compile(r"\d+"), re.compile(r"[a-z]{3,}")


@dataclass(frozen=True, slots=True, eq=False)
class _Text:
    whole: tuple[Ngrams, ...]
    opening: tuple[Ngrams, ...]
    numbers: Ngrams
    letters: Ngrams
    words: int


@lru_cache(maxsize=20_000)
def _read(caption: str) -> _Text:
    text = caption.lower()
    whole = count_word_ngrams(text)
    return _Text(
        whole,
        count_word_ngrams(text.split(". ")[0])[:3],
        _count_numbers(text),
        Counter(zip(*(text[start:] for start in range(5)), strict=False)),
        whole[0].total(),
    )


def _count_numbers(text: str) -> Ngrams:
    return Counter((number,) for number in _NUMBER.findall(text))


def _share(left: Ngrams, right: Ngrams) -> float:
    return share_ngrams(left, right) if left and right else UNKNOWN


def compare_captions(
    query: str, pairs: Sequence[Pair], names: Sequence[str], profiles: Sequence[Profile], scores: Floats
) -> Floats:
    """A caption beside N pairs.

    Args:
        query: The caption.
        pairs: The pairs.
        names: Systematic names of their molecules, empty where there is none.
        profiles: Their molecules.
        scores: What the search said of them, `[N]`, the highest first.

    Returns:
        `[N, 25]`: likeness of the texts, of their first sentences, numbers and letters; whether elements and charge
        fit; how much of the name occurs in the query; sizes.
    """
    own, text = _read(query), query.lower()
    rows = []
    for pair, name, profile, score in zip(pairs, names, profiles, scores.tolist(), strict=True):
        other = _read(pair.caption)
        parts, lower = set(_WORD.findall(name.lower())), name.lower()
        pieces = {lower[start : start + 5] for start in range(len(lower) - 4)}
        counts = profile.counts
        rows.append(
            [
                score / max(float(scores[0]), 1e-9),
                score / max(own.words, 1),
                *(share_ngrams(one, two) for one, two in zip(own.whole, other.whole, strict=True)),
                *(share_ngrams(one, two) for one, two in zip(own.opening, other.opening, strict=True)),
                _share(own.numbers, other.numbers),
                _share(own.letters, other.letters),
                min(own.words, other.words) / max(own.words, other.words, 1),
                check_properties(query, profile.molecule),
                sum(part in text for part in parts) / len(parts) if parts else UNKNOWN,
                sum(piece in text for piece in pieces) / len(pieces) if pieces else UNKNOWN,
                _share(own.numbers, _count_numbers(name)),
                np.tanh(counts[0] / 20.0),
                np.tanh(counts[1] / 4.0),
                np.tanh(counts[2] / 8.0),
                np.tanh(counts[11] / 2.0),
                np.tanh(counts[12] / 4.0),
                ("conjugate base" in text) == (counts[11] < 0),
                "acid" in text,
                own.words / 100.0,
            ]
        )
    return np.array(rows, dtype=np.float64)
