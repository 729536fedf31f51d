"""How far captions agree with many others, fast enough to compare hundreds of them with each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from molregpt.metrics.tokenization import load_tokenizer
from molregpt.relevance.likeness import LONGEST

_Ints = NDArray[np.int64]


def split_pieces(text: str) -> list[str]:
    """SciBERT's word pieces: names that have parts in common, as names of chemistry do, are somewhat alike."""
    return [piece for word in text.split() for piece in _split_word(word)]


@lru_cache(maxsize=50_000)
def _split_word(word: str) -> tuple[str, ...]:
    return tuple(load_tokenizer().tokenize([word])[0])


class Agreement:
    """Compares captions with those that have a vote.

    What a caption would be worth if any of the others might be the reference: the mean likeness to them, each weighing
    by its votes (minimum Bayes risk; Kumar and Byrne, NAACL 2004). How like two captions are is the mean of the F1 of
    the n-grams of their word pieces, n = 1..4.
    """

    def __init__(self, votes: Mapping[str, float]) -> None:
        """Count the n-grams of those that vote, one at least."""
        self._shares = np.array(list(votes.values())) / sum(votes.values())
        said = [split_pieces(text) for text in votes]
        self._numbers = {
            word: number for number, word in enumerate(dict.fromkeys(word for one in said for word in one))
        }
        # What each length of n-grams is looked up in, sorted, and how often each of them is in each text.
        self._codes: list[_Ints] = []
        self._counts: list[_Ints] = []
        texts, words = self._lay_out(said)
        places = np.zeros(len(words), np.int64)
        for order in range(LONGEST):
            codes, whole = self._extend(places, texts, words, order)
            known, inverse = np.unique(codes[whole], return_inverse=True)
            counts = np.zeros((len(known), len(said)), np.int64)
            np.add.at(counts, (inverse, texts[: len(whole)][whole]), 1)
            self._codes.append(known)
            self._counts.append(counts)
            places = _find(codes, whole, known)

    def measure(self, captions: Sequence[str]) -> NDArray[np.float64]:
        """How far each of N captions agrees with them, `[N]`, 0 to 1."""
        said = [split_pieces(text) for text in captions]
        lengths = np.array([len(one) for one in said])
        texts, words = self._lay_out(said)
        places = np.zeros(len(words), np.int64)
        total = np.zeros((len(said), len(self._shares)))
        for order in range(LONGEST):
            codes, whole = self._extend(places, texts, words, order)
            places = _find(codes, whole, self._codes[order])
            counts = self._counts[order]
            sizes = np.add.outer(np.maximum(lengths - order, 0), counts.sum(axis=0))
            total += np.where(sizes > 0, 2.0 * _share(texts, places, counts, len(said)) / np.maximum(sizes, 1), 1.0)
        return np.asarray(total @ self._shares / LONGEST, dtype=np.float64)

    def _lay_out(self, said: Sequence[Sequence[str]]) -> tuple[_Ints, _Ints]:
        """Words of all texts behind one another: the text of each, and its number, -1 where nobody else says it."""
        texts = np.repeat(np.arange(len(said)), [len(one) for one in said])
        return texts, np.array([self._numbers.get(word, -1) for one in said for word in one], np.int64)

    def _extend(self, places: _Ints, texts: _Ints, words: _Ints, order: int) -> tuple[_Ints, NDArray[np.bool_]]:
        """Codes of n-grams that are one word longer than those in `places`, and which of them exist.

        An n-gram begins at each word; its code is made of the place of its beginning among the shorter ones, and of its
        last word.
        """
        count = max(len(words) - order, 0)
        last = words[order:]
        whole = (places[:count] >= 0) & (last >= 0) & (texts[:count] == texts[order:])
        return places[:count] * len(self._numbers) + last, whole


def _find(codes: _Ints, whole: NDArray[np.bool_], known: _Ints) -> _Ints:
    """Places of n-grams among the known ones; -1 for others."""
    places = np.searchsorted(known, codes)
    found = whole & (known[np.minimum(places, len(known) - 1)] == codes) if len(known) else np.zeros_like(whole)
    return np.where(found, places, -1)


def _share(texts: _Ints, places: _Ints, counts: _Ints, rows: int) -> _Ints:
    """How many n-grams each of the texts `[rows]` shares with each of those that are known, `[rows, V]`."""
    found = np.flatnonzero(places >= 0)
    shared = np.zeros((rows, counts.shape[1]), np.int64)
    if len(found):
        said, times = np.unique(texts[found] * len(counts) + places[found], return_counts=True)
        rows_of, places_of = np.divmod(said, len(counts))
        starts = np.flatnonzero(np.diff(rows_of, prepend=-1))
        both = np.minimum(counts[places_of], times[:, None])
        shared[rows_of[starts]] = np.add.reduceat(both, starts, axis=0)
    return shared
