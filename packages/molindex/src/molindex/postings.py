"""What each term adds to which captions, and which captions can be among the best by it.

Most of a query's postings are those of its commonest words, which say least. So terms are read from the one that adds
most to the one that adds least, and once those that are left cannot lift a caption that has nothing yet above the k-th
best, only captions that have enough already are looked up in their lists (MaxScore: Turtle and Flood, "Query
evaluation: strategies and optimizations", Information Processing & Management 31(6), 1995). What is found is what
scoring every caption finds, to the last bit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

# Looking a caption up in a list costs about this many times what adding a posting costs.
_LOOK_UP_COST = 8
# Sums of the same numbers in another order differ in their last digits.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Postings:
    """What each term adds to which captions, by term (compressed sparse columns).

    Attributes:
        scores: float64 [P].
        rows: int32 [P], ascending in each term's part.
        starts: int64 [terms + 1], where each term's part begins.
    """

    scores: NDArray[np.float64]
    rows: NDArray[np.int32]
    starts: NDArray[np.int64]

    @cached_property
    def most(self) -> NDArray[np.float64] | None:
        """The most that each term adds, float64 [terms]; None if some term takes away."""
        if not len(self.scores):
            return np.zeros(len(self.starts) - 1)
        if self.scores.min() < 0:
            return None
        # A part that is empty would be given the first score of the next one.
        most = np.zeros(len(self.starts) - 1)
        filled = np.diff(self.starts) > 0
        most[filled] = np.maximum.reduceat(self.scores, self.starts[:-1][filled])
        return most

    def part(self, term: int) -> slice:
        """Where a term's postings are."""
        return slice(int(self.starts[term]), int(self.starts[term + 1]))

    def _look_up(self, term: int, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """What a term adds to some captions `rows`, ascending, int64 [R]; float64 [R]."""
        part = self.part(term)
        known = self.rows[part]
        if not len(known):
            return np.zeros(len(rows))
        places = np.minimum(np.searchsorted(known, rows.astype(known.dtype)), len(known) - 1)
        return np.where(known[places] == rows, self.scores[part][places], 0.0)

    def find_candidates(
        self, terms: Sequence[int], captions: int, k: int, barred: NDArray[np.int64]
    ) -> NDArray[np.int64] | None:
        """Captions among which the k best are, ties at the border included.

        Args:
            terms: Of the query, repeats too.
            captions: How many there are.
            k: How many are wanted.
            barred: Captions that may not be found.

        Returns:
            Their rows, ascending, int64 [C]; None if it takes less to score them all.
        """
        if self.most is None or k >= captions:
            return None
        times = Counter(terms)
        gains = {term: float(self.most[term]) * count for term, count in times.items()}
        sums = np.zeros(captions)
        read, left = 0.0, sum(gains.values())
        for term in sorted(gains, key=gains.__getitem__, reverse=True):
            part = self.part(term)
            # No sum is above what was read: nothing can be known before that is more than what is left.
            if read > left and part.stop - part.start > captions // _LOOK_UP_COST:
                sums[barred] = -np.inf
                floor = _find_floor(sums, k) * (1 - _ROUNDING)
                if left < floor:  # so that what has nothing yet cannot be among the best
                    found = np.flatnonzero(sums >= floor - left * (1 + _ROUNDING))
                    return found if len(found) * _LOOK_UP_COST < captions else None
            sums[self.rows[part]] += times[term] * self.scores[part]
            read, left = read + gains[term], max(0.0, left - gains[term])
        return None

    def score(self, terms: Sequence[int], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """The scores of some captions `rows`, ascending, int64 [R]; float64 [R]."""
        # Added up in the order of the query, as `bm25s` does, so that they are the same to the last bit.
        scores = np.zeros(len(rows))
        for term in terms:
            scores += self._look_up(term, rows)
        return scores


def _find_floor(sums: NDArray[np.float64], k: int) -> float:
    """The k-th largest of sums [N], 0.0 if fewer than k are above 0."""
    # numpy's partition is slow where one value dominates, as 0.0 does.
    above = sums[sums > 0]
    return float(np.partition(above, len(above) - k)[len(above) - k]) if len(above) >= k else 0.0
