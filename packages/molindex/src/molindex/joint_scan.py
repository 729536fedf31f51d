"""Several queries on their way through the folded fingerprints together. Letters: see `exact`, and Q queries.

A block is read for all queries while it is in the processor's cache, and what passes is scored for all in one go; a
query alone pays some dozens of small array operations for each block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from molindex.bits import count_bits, within_radius
from molindex.similarity import least_shared, similarity_of

if TYPE_CHECKING:
    from molindex.exact import Scan

# One call of faiss takes one radius. Queries whose own radii differ by more get calls of their own: what lies between
# the radii is found for nothing, and quickly far more is found than is wanted.
_RADIUS_STEP = 4


class JointScan:
    """Several queries on their way through the folded blocks together: the best of each so far, one after the other."""

    def __init__(self, scans: Sequence[Scan]) -> None:
        first = scans[0]
        self.data, self.group_of, self.k, self.metric = first.data, first.group_of, first.k, first.metric
        self.exclude = [scan.exclude for scan in scans]
        self.queries = np.concatenate([scan.query for scan in scans])  # [Q, W]
        self.folded_queries = np.concatenate([scan.scanned_query for scan in scans])  # [Q, F]
        self.bits = np.array([scan.bits for scan in scans], np.int32)  # [Q]
        self.thresholds = np.array([scan.threshold for scan in scans])  # [Q]
        self.reach = np.stack([scan.reach for scan in scans])  # [Q, G]
        self.nearest = np.stack([scan.nearest for scan in scans])  # [Q, G]
        self.best_queries = np.empty(0, np.int64)
        self.best_rows = np.empty(0, np.int64)
        self.best_similarities = np.empty(0, np.float64)

    def read(self, first: int, last: int) -> None:
        """Take in groups first..last-1 for every query."""
        totals = self.bits[:, None] + self.data.group_bits[first:last]
        radii = self.reach[:, first:last] - 2 * least_shared(
            totals, self.thresholds[:, None], self.metric
        )  # [Q, groups]
        radii[radii < self.nearest[:, first:last]] = -1
        widest = radii.max(axis=1)  # [Q]
        begin, end = int(self.data.group_starts[first]), int(self.data.group_starts[last])
        for members in _split_by_radius(widest):
            queries = np.ascontiguousarray(self.folded_queries[members])
            found, positions, distances = within_radius(
                queries, self.data.folded[begin:end], int(widest[members].max())
            )
            numbers, positions = members[found], begin + positions
            passed = np.flatnonzero(distances <= radii[numbers, self.group_of[positions] - first])
            if len(passed):
                self._merge(*self._score(numbers[passed], positions[passed]))

    def results(self) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Rows and similarities of each query."""
        ends = np.searchsorted(self.best_queries, np.arange(1, len(self.bits)))
        return list(zip(np.split(self.best_rows, ends), np.split(self.best_similarities, ends), strict=True))

    def _score(
        self, numbers: NDArray[np.int64], positions: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Of pairs of a query and a position, those that matter: query, row, true similarity."""
        data = self.data
        totals = self.bits[numbers] + data.group_bits[self.group_of[positions]]
        distances = count_bits(self.queries[numbers] ^ data.codes[positions])
        similarities = similarity_of((totals - distances) // 2, totals, self.metric)
        kept = similarities >= self.thresholds[numbers]
        numbers, rows, similarities = numbers[kept], data.rows[positions[kept]], similarities[kept]
        allowed = np.ones(len(rows), bool)
        for number in np.unique(numbers).tolist():
            barred = self.exclude[number]
            if barred is not None and len(barred):
                allowed &= (numbers != number) | ~np.isin(rows, barred)
        return numbers[allowed], rows[allowed], similarities[allowed]

    def _merge(self, numbers: NDArray[np.int64], rows: NDArray[np.int64], similarities: NDArray[np.float64]) -> None:
        numbers = np.concatenate((self.best_queries, numbers))
        rows = np.concatenate((self.best_rows, rows))
        similarities = np.concatenate((self.best_similarities, similarities))
        order = np.lexsort((rows, -similarities, numbers))
        numbers = numbers[order]
        starts = np.searchsorted(numbers, np.arange(len(self.bits)))
        kept = np.arange(len(numbers)) - starts[numbers] < self.k
        order = order[kept]
        self.best_queries, self.best_rows, self.best_similarities = numbers[kept], rows[order], similarities[order]
        ends = np.cumsum(np.bincount(self.best_queries, minlength=len(self.bits)))
        filled = np.flatnonzero(np.diff(ends, prepend=0) == self.k)
        # Not above the k-th: an equal row with a lower number may still come, as in `Scan`.
        self.thresholds[filled] = np.maximum(self.thresholds[filled], self.best_similarities[ends[filled] - 1])


def _split_by_radius(radii: NDArray[np.int32]) -> list[NDArray[np.int64]]:
    """Positions of the radii that are not negative, in parts whose radii differ by little."""
    order = np.argsort(radii, kind="stable")
    order = order[radii[order] >= 0]
    parts = []
    while len(order):
        count = int(np.searchsorted(radii[order], radii[order[0]] + _RADIUS_STEP, side="right"))
        parts.append(order[:count])
        order = order[count:]
    return parts
