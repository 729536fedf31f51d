"""Exact nearest fingerprints by Dice or Tanimoto, reading only a small part of each fingerprint.

Letters: N rows, G groups, W bytes of a packed fingerprint, F bytes of a folded one.

How it works. Let a and b be the set bits of the query and of a row, and c the bits they share; both similarities grow
with c when a and b are fixed. Each fingerprint is also kept *folded*: OR-ed down to a few hundred bits (fa, fb of them
set), so that a - fa and b - fb bits were lost to folding. A bit that both share is either alone in its folded bit, and
then shared there too, or one of the lost ones, hence

    c <= |folded query AND folded row| + min(a - fa, b - fb).

Rows are sorted by (b, fb), so within a group everything in this bound but the folded Hamming distance is constant: "may
this row still reach similarity t?" becomes one radius per group. faiss scans the folded rows within that radius, and
only the few that pass are scored on their full fingerprints. The bound is never too strict, so the result equals a full
scan, ties included. Groups near the query's own count come first, because they raise t soonest. Where a sample shows
that the bound would hold back too little (large molecules lose many bits), the full fingerprints are scanned instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import faiss
import numpy as np
from numpy.typing import NDArray

from molindex.errors import InputError

Metric = Literal["dice", "tanimoto"]

_FOLDED_BYTES = (32, 64, 128)
_LARGEST_FOLDED_FILL = 0.25
# Measured on 1,000,000 MOSES molecules: smaller blocks cost calls, larger ones raise the threshold too late.
_BLOCK_ROWS = 131_072
_SAMPLE_ROWS, _SAMPLE_SHARE = 16_384, 8
# A row that passes costs about 20 times a folded row that does not; a full row costs about 3 (in cache) to 8.
_LARGEST_PASSED = 0.1
# Up to so many rows, computing every distance beats a range search (26,409 rows: 0.23 against 0.32 ms a query).
_LARGEST_DENSE = 65_536
# Distances and counts are whole numbers; bounds are loosened by this much so that rounding cannot make them strict.
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class SortedFingerprints:
    """N packed fingerprints, sorted by set bits, then by folded set bits, then by row.

    Attributes:
        codes: uint8 [N, W], the packed fingerprints.
        folded: uint8 [N, F], each OR-folded to F bytes; `codes` itself where folding would not pay.
        rows: int64 [N], the row that each position holds.
        group_starts: int64 [G + 1], where each group of equal (set bits, folded set bits) begins; the last is N.
        group_bits: int32 [G], set bits.
        group_folded_bits: int32 [G], set bits after folding.
    """

    codes: NDArray[np.uint8]
    folded: NDArray[np.uint8]
    rows: NDArray[np.int64]
    group_starts: NDArray[np.int64]
    group_bits: NDArray[np.int32]
    group_folded_bits: NDArray[np.int32]

    @classmethod
    def sort(cls, codes: NDArray[np.uint8]) -> SortedFingerprints:
        """Sort packed fingerprints.

        Args:
            codes: uint8 [N, W] in row order, W a multiple of 8.
        """
        bits = count_bits(codes)
        folded = fold(codes, _choose_folded_bytes(bits, codes.shape[1]))
        folded_bits = count_bits(folded)
        rows = np.lexsort((folded_bits, bits))  # stable, so equal rows stay in row order
        bits, folded_bits = bits[rows], folded_bits[rows]
        changes = (np.diff(bits) != 0) | (np.diff(folded_bits) != 0)
        starts = np.concatenate(([0], np.flatnonzero(changes) + 1)) if len(codes) else np.zeros(0, np.int64)
        sorted_codes = np.ascontiguousarray(codes[rows])
        return cls(
            codes=sorted_codes,
            folded=sorted_codes if folded is codes else np.ascontiguousarray(folded[rows]),
            rows=rows.astype(np.int64),
            group_starts=np.append(starts, len(codes)).astype(np.int64),
            group_bits=bits[starts],
            group_folded_bits=folded_bits[starts],
        )


class ExactSearch:
    """Exact top-k over sorted fingerprints; holds no state between queries, so threads may share it."""

    def __init__(self, fingerprints: SortedFingerprints) -> None:
        self.fingerprints = fingerprints
        sizes = np.diff(fingerprints.group_starts)
        self._group_of = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
        self._blocks = _split_blocks(fingerprints.group_starts)

    def search(
        self,
        query: NDArray[np.uint8],
        k: int,
        metric: Metric = "dice",
        floor: float = 0.0,
        exclude: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The k most similar rows, as a full scan in double precision would give them.

        Args:
            query: uint8 [W], one packed fingerprint.
            k: The most to return.
            metric: `dice` = 2c / (a + b) or `tanimoto` = c / (a + b - c); two empty ones score 0.0, as in RDKit.
            floor: Rows below this similarity are left out.
            exclude: Rows that are left out, int64 [X].

        Returns:
            Rows int64 [M] and similarities float64 [M], M <= k, best first; equal similarities by lower row.

        Raises:
            InputError: k is below 1, the metric is unknown, or the floor is not between 0 and 1.
        """
        if k < 1:
            raise InputError(f"k must be at least 1, got {k}")
        if metric not in get_args(Metric):
            raise InputError(f"unknown metric {metric!r}; known are {', '.join(get_args(Metric))}")
        if not 0.0 <= floor <= 1.0:
            raise InputError(f"the similarity floor must be between 0 and 1, got {floor}")
        scan = _Scan(self.fingerprints, self._group_of, query, k, metric, floor, exclude)
        centre = int(np.searchsorted(self.fingerprints.group_bits, scan.bits))
        scan.scan_folded()
        scan.seed(centre)
        # Nearest counts first. A block's distance is its nearer edge's; 0 for the one that holds the query's count.
        for first, last in sorted(self._blocks, key=lambda block: max(block[0] - centre, centre - block[1], 0)):
            scan.read(first, last)
        return scan.best_rows, scan.best_similarities


class _Scan:
    """One query on its way through the blocks: the best k so far, and the similarity a row must reach to matter."""

    def __init__(
        self,
        data: SortedFingerprints,
        group_of: NDArray[np.int32],
        query: NDArray[np.uint8],
        k: int,
        metric: Metric,
        floor: float,
        exclude: NDArray[np.int64] | None,
    ) -> None:
        self.data = data
        self.group_of = group_of
        self.k = k
        self.metric = metric
        self.exclude = exclude
        self.query = np.ascontiguousarray(query).reshape(1, -1)
        self.bits = int(count_bits(self.query)[0])
        self.threshold = floor
        self.best_rows = np.empty(0, np.int64)
        self.best_similarities = np.empty(0, np.float64)

    def scan_folded(self) -> None:
        """Read the folded fingerprints from now on."""
        self.scanned = self.data.folded
        self.scanned_query = fold(self.query, self.scanned.shape[1])
        bits = int(count_bits(self.scanned_query)[0])
        lost = np.minimum(self.bits - bits, self.data.group_bits - self.data.group_folded_bits)
        # A row at distance d shares at most (reach - d) / 2 bits; no row of the group is nearer than `nearest`.
        self.reach = bits + self.data.group_folded_bits + 2 * lost
        self.nearest = np.abs(bits - self.data.group_folded_bits)

    def scan_full(self) -> None:
        """Read the full fingerprints from now on; the bound is then the similarity itself."""
        self.scanned, self.scanned_query = self.data.codes, self.query
        self.reach = self.bits + self.data.group_bits
        self.nearest = np.abs(self.bits - self.data.group_bits)

    def seed(self, centre: int) -> None:
        """Sample the rows around group `centre`: raise the threshold by the best of them, then choose what to scan.

        The rows that are scored here are found again by `read`, so only the threshold is kept.
        """
        starts = self.data.group_starts
        total = int(starts[-1])
        length = min(total, max(min(_SAMPLE_ROWS, total // _SAMPLE_SHARE), 4 * self.k))
        begin = min(max(int(starts[centre]) - length // 2, 0), total - length)
        distances = hamming(self.scanned_query, self.scanned[begin : begin + length])
        wanted = 2 * self.k + (0 if self.exclude is None else len(self.exclude))
        if wanted >= length:
            return
        # Distances are small whole numbers: counting them finds the radius faster than partitioning.
        radius = int(np.searchsorted(np.bincount(distances).cumsum(), wanted))
        _, similarities = self._score(begin + np.flatnonzero(distances <= radius))
        if len(similarities) >= self.k:
            self.threshold = max(self.threshold, _largest(similarities, self.k))
        radii = self.reach - 2 * self._needed(self.data.group_bits)
        passed = np.count_nonzero(distances <= radii[self.group_of[begin : begin + length]])
        if passed > _LARGEST_PASSED * length:
            self.scan_full()

    def read(self, first: int, last: int) -> None:
        """Take in groups first..last-1."""
        data = self.data
        radii = self.reach[first:last] - 2 * self._needed(data.group_bits[first:last])
        open_groups = np.flatnonzero(radii >= self.nearest[first:last])
        if not len(open_groups):
            return
        low, high = int(open_groups[0]), int(open_groups[-1]) + 1
        positions, distances = self._pass_radii(first + low, first + high, radii[low:high])
        groups = self.group_of[positions]
        most = 4 * self.k + 64
        if len(positions) > most:
            # The threshold is still low: score the most promising rows first, and most of the others fall away.
            bounds = self._similarity((self.reach[groups] - distances) // 2, self.bits + data.group_bits[groups])
            promising = bounds >= _largest(bounds, most)
            self._merge(*self._score(positions[promising]))
            positions = positions[~promising & (bounds >= self.threshold)]
        if len(positions):
            self._merge(*self._score(positions))

    def _pass_radii(
        self, first: int, last: int, radii: NDArray[np.int32]
    ) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Positions and distances of the rows of groups first..last-1 that lie within their group's radius."""
        begin, end = int(self.data.group_starts[first]), int(self.data.group_starts[last])
        codes = self.scanned[begin:end]
        if end - begin <= _LARGEST_DENSE:
            distances = hamming(self.scanned_query, codes)
            found = np.flatnonzero(distances <= radii[self.group_of[begin:end] - first])
            return begin + found, distances[found]
        # Over many rows one radius for all, the widest, is faster; then each row must still pass its own group's.
        found, distances = within_radius(self.scanned_query, codes, int(radii.max()))
        passed = distances <= radii[self.group_of[begin + found] - first]
        return begin + found[passed], distances[passed]

    def _needed(self, bits: NDArray[np.int32]) -> NDArray[np.int32]:
        """The fewest shared bits with which a row of so many set bits reaches the threshold, int32, shape of `bits`."""
        total = self.bits + bits
        t = self.threshold
        shared = t * total / 2 if self.metric == "dice" else t * total / (1 + t)
        return np.ceil(shared - _ROUNDING).astype(np.int32)

    def _similarity(self, shared: NDArray[np.int32], total: NDArray[np.int32]) -> NDArray[np.float64]:
        """Similarity from the shared bits c and the sum of both counts a + b, float64 of the same shape."""
        # Whole numbers divided once in double precision: the same rounding as RDKit's, to the last bit.
        if self.metric == "dice":
            upper, lower = 2.0 * shared, total
        else:
            upper, lower = shared.astype(np.float64), total - shared
        similarities = np.zeros(len(total))
        np.divide(upper, lower, out=similarities, where=lower > 0)
        return similarities

    def _score(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Rows and true similarities of the positions that are at least at the threshold and not excluded."""
        data = self.data
        total = self.bits + data.group_bits[self.group_of[positions]]
        shared = (total - hamming(self.query, data.codes[positions])) // 2
        similarities = self._similarity(shared, total)
        kept = similarities >= self.threshold
        rows, similarities = data.rows[positions[kept]], similarities[kept]
        if self.exclude is not None and len(self.exclude):
            allowed = ~np.isin(rows, self.exclude)
            return rows[allowed], similarities[allowed]
        return rows, similarities

    def _merge(self, rows: NDArray[np.int64], similarities: NDArray[np.float64]) -> None:
        rows = np.concatenate((self.best_rows, rows))
        similarities = np.concatenate((self.best_similarities, similarities))
        if len(rows) > self.k:
            near = similarities >= _largest(similarities, self.k)
            rows, similarities = rows[near], similarities[near]
        best = np.lexsort((rows, -similarities))[: self.k]
        self.best_rows, self.best_similarities = rows[best], similarities[best]
        if len(best) == self.k:
            # Not raised above the k-th: an equal row with a lower number may still come and takes its place.
            self.threshold = max(self.threshold, float(self.best_similarities[-1]))


def _largest(values: NDArray[np.float64], k: int) -> float:
    """The k-th largest value."""
    # numpy's partition takes ten times as long when one low value dominates, as 0.0 does for a query of few bits.
    high = values[values > values.mean()]
    values = high if len(high) >= k else values
    return float(np.partition(values, len(values) - k)[len(values) - k])


def count_bits(codes: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Set bits of each row, int32 [N]."""
    words = np.ascontiguousarray(codes).view(np.uint64)
    return np.asarray(np.bitwise_count(words).sum(axis=1, dtype=np.int32))


def fold(codes: NDArray[np.uint8], folded_bytes: int) -> NDArray[np.uint8]:
    """OR each row's bytes [N, W] into [N, folded_bytes]; `codes` itself when it is not wider."""
    width = codes.shape[1]
    if folded_bytes >= width:
        return codes
    folded = np.zeros((len(codes), folded_bytes), np.uint8)
    for begin in range(0, width, folded_bytes):
        part = codes[:, begin : begin + folded_bytes]
        folded[:, : part.shape[1]] |= part
    return folded


def hamming(query: NDArray[np.uint8], codes: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Hamming distances of one query [1, F] to C-contiguous codes [N, F], int32 [N]."""
    distances = np.empty(len(codes), np.int32)
    if len(codes):
        pointer = faiss.swig_ptr
        sizes = (1, len(codes), codes.shape[1])
        faiss.hammings(pointer(query), pointer(codes), *sizes, pointer(distances))  # type: ignore[attr-defined]
    return distances


def within_radius(
    query: NDArray[np.uint8], codes: NDArray[np.uint8], radius: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Positions int64 [M] and Hamming distances int32 [M] of the codes [N, F] within `radius` of the query [1, F]."""
    result = faiss.RangeSearchResult(1)
    pointer = faiss.swig_ptr
    sizes = (1, len(codes), radius + 1, codes.shape[1])  # faiss keeps distances strictly below its radius
    faiss.hamming_range_search(pointer(query), pointer(codes), *sizes, result)  # type: ignore[attr-defined]
    count = int(faiss.rev_swig_ptr(result.lims, 2)[1])
    if not count:
        return np.empty(0, np.int64), np.empty(0, np.int32)
    # Copied: the result's memory goes with the result.
    positions = faiss.rev_swig_ptr(result.labels, count).copy()
    return positions, faiss.rev_swig_ptr(result.distances, count).astype(np.int32)


def _choose_folded_bytes(bits: NDArray[np.int32], width: int) -> int:
    """The narrowest fold that stays sparse on average; a full one bounds nothing (RDKit path ones are dense)."""
    mean = float(bits.mean()) if len(bits) else 0.0
    return next((size for size in _FOLDED_BYTES if size < width and mean <= _LARGEST_FOLDED_FILL * 8 * size), width)


def _split_blocks(group_starts: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Neighbouring groups put together to at least _BLOCK_ROWS rows, as (first, last + 1)."""
    blocks: list[tuple[int, int]] = []
    first = 0
    for last in range(1, len(group_starts)):
        if group_starts[last] - group_starts[first] >= _BLOCK_ROWS:
            blocks.append((first, last))
            first = last
    if first < len(group_starts) - 1:
        blocks.append((first, len(group_starts) - 1))
    return blocks
