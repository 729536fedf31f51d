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

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from molindex.bits import count_bits, fold, hamming, within_radius
from molindex.errors import InputError
from molindex.joint_scan import JointScan
from molindex.similarity import Metric, least_shared, similarity_of

_FOLDED_BYTES = (32, 64, 128)
_LARGEST_FOLDED_FILL = 0.25
# Measured on 1,000,000 MOSES molecules: smaller blocks cost calls, larger ones raise the threshold too late.
_BLOCK_ROWS = 131_072
# So many queries share a block that then stays in the processor's cache (65,536 folded rows are 2 MB).
_JOINT_BLOCK_ROWS, _QUERIES_AT_ONCE = 65_536, 64
_SAMPLE_ROWS, _SAMPLE_SHARE, _SAMPLE_GROWTH = 16_384, 8, 4
# A row that passes costs about 20 times a folded row that does not; a full row costs about 3 (in cache) to 8.
_LARGEST_PASSED = 0.1
# Up to so many rows, computing every distance beats a range search (26,409 rows: 0.23 against 0.32 ms a query).
_LARGEST_DENSE = 65_536


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
        self._blocks = _split_blocks(fingerprints.group_starts, _BLOCK_ROWS)
        self._joint_blocks = _split_blocks(fingerprints.group_starts, _JOINT_BLOCK_ROWS)

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
        _check(k, metric, floor)
        scan = Scan(self.fingerprints, self._group_of, query, k, metric, floor, exclude)
        centre = self._seed(scan)
        for first, last in _order_blocks(self._blocks, centre):
            scan.read(first, last)
        return scan.best_rows, scan.best_similarities

    def search_batch(
        self,
        queries: NDArray[np.uint8],
        k: int,
        metric: Metric = "dice",
        floor: float = 0.0,
        exclude: Sequence[NDArray[np.int64] | None] | None = None,
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """As `search`, for queries uint8 [B, W]; faster than one by one, because each block is read once for many.

        Raises:
            InputError: As `search`.
        """
        barred = exclude if exclude is not None else [None] * len(queries)
        _check(k, metric, floor)
        scans = [
            Scan(self.fingerprints, self._group_of, query, k, metric, floor, rows)
            for query, rows in zip(queries, barred, strict=True)
        ]
        centres = [self._seed(scan) for scan in scans]
        found: dict[int, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}
        # Queries of about as many bits have about the same radii, and one call of faiss takes one radius for all.
        order = np.argsort(centres, kind="stable").tolist()
        together = [at for at in order if scans[at].is_folded]
        for begin in range(0, len(together), _QUERIES_AT_ONCE):
            members = together[begin : begin + _QUERIES_AT_ONCE]
            joint = JointScan([scans[at] for at in members])
            for first, last in _order_blocks(self._joint_blocks, centres[members[len(members) // 2]]):
                joint.read(first, last)
            for at, result in zip(members, joint.results(), strict=True):
                found[at] = result
        for at in (at for at in order if not scans[at].is_folded):
            for first, last in _order_blocks(self._blocks, centres[at]):
                scans[at].read(first, last)
            found[at] = (scans[at].best_rows, scans[at].best_similarities)
        return [found[at] for at in range(len(scans))]

    def _seed(self, scan: Scan) -> int:
        """Prepare a scan; returns the group where the query's own count of bits begins."""
        centre = int(np.searchsorted(self.fingerprints.group_bits, scan.bits))
        scan.scan_folded()
        scan.seed(centre)
        return centre


def _check(k: int, metric: Metric, floor: float) -> None:
    if k < 1:
        raise InputError(f"k must be at least 1, got {k}")
    if metric not in get_args(Metric):
        raise InputError(f"unknown metric {metric!r}; known are {', '.join(get_args(Metric))}")
    if not 0.0 <= floor <= 1.0:
        raise InputError(f"the similarity floor must be between 0 and 1, got {floor}")


class Scan:
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
        # Rows of a sample that are scored, so that the k best of them are near the best.
        self._wanted = 8 * k + (0 if exclude is None else len(exclude))

    def scan_folded(self) -> None:
        """Read the folded fingerprints from now on."""
        self.scanned = self.data.folded
        self.scanned_query = fold(self.query, self.scanned.shape[1])
        bits = int(count_bits(self.scanned_query)[0])
        lost = np.minimum(self.bits - bits, self.data.group_bits - self.data.group_folded_bits)
        # A row at distance d shares at most (reach - d) / 2 bits; no row of the group is nearer than `nearest`.
        self.reach = bits + self.data.group_folded_bits + 2 * lost
        self.nearest = np.abs(bits - self.data.group_folded_bits)

    @property
    def is_folded(self) -> bool:
        """Whether less than the full fingerprints is read."""
        return self.scanned is not self.data.codes

    def scan_full(self) -> None:
        """Read the full fingerprints from now on; the bound is then the similarity itself."""
        self.scanned, self.scanned_query = self.data.codes, self.query
        self.reach = self.bits + self.data.group_bits
        self.nearest = np.abs(self.bits - self.data.group_bits)

    def seed(self, centre: int) -> None:
        """Sample the rows around group `centre`: raise the threshold by the best of them, then choose what to scan.

        A sample after which the bound would hold back too little is followed by a larger one, up to an eighth of all
        rows: the threshold rises with it, and one more sample costs far less than a scan of full fingerprints. The rows
        that are scored here are found again by `read`, so only the threshold is kept.
        """
        starts = self.data.group_starts
        total = int(starts[-1])
        most = total // _SAMPLE_SHARE
        length = min(total, max(min(_SAMPLE_ROWS, most), 2 * self._wanted))
        while not self._seed_by(min(max(int(starts[centre]) - length // 2, 0), total - length), length):
            if length >= most or not self.is_folded:
                self.scan_full()
                return
            length = min(_SAMPLE_GROWTH * length, most)

    def _seed_by(self, begin: int, length: int) -> bool:
        """Raise the threshold by the best of so many rows; whether few enough of them would be scored in full."""
        distances = hamming(self.scanned_query, self.scanned[begin : begin + length])
        if self._wanted < length:
            # Distances are small whole numbers: counting them finds the radius faster than partitioning.
            radius = int(np.searchsorted(np.bincount(distances).cumsum(), self._wanted))
            _, similarities = self._score(begin + np.flatnonzero(distances <= radius))
            if len(similarities) >= self.k:
                self.threshold = max(self.threshold, _largest(similarities, self.k))
        radii = self.reach - 2 * least_shared(self.bits + self.data.group_bits, self.threshold, self.metric)
        passed = np.count_nonzero(distances <= radii[self.group_of[begin : begin + length]])
        return bool(passed <= _LARGEST_PASSED * length)

    def read(self, first: int, last: int) -> None:
        """Take in groups first..last-1."""
        data = self.data
        radii = self.reach[first:last] - 2 * least_shared(
            self.bits + data.group_bits[first:last], self.threshold, self.metric
        )
        open_groups = np.flatnonzero(radii >= self.nearest[first:last])
        if not len(open_groups):
            return
        low, high = int(open_groups[0]), int(open_groups[-1]) + 1
        positions, distances = self._pass_radii(first + low, first + high, radii[low:high])
        groups = self.group_of[positions]
        most = 4 * self.k + 64
        if len(positions) > most:
            # The threshold is still low: score the most promising rows first, and most of the others fall away.
            totals = self.bits + data.group_bits[groups]
            bounds = similarity_of((self.reach[groups] - distances) // 2, totals, self.metric)
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
        _, found, distances = within_radius(self.scanned_query, codes, int(radii.max()))
        passed = distances <= radii[self.group_of[begin + found] - first]
        return begin + found[passed], distances[passed]

    def _score(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Rows and true similarities of the positions that are at least at the threshold and not excluded."""
        data = self.data
        total = self.bits + data.group_bits[self.group_of[positions]]
        shared = (total - hamming(self.query, data.codes[positions])) // 2
        similarities = similarity_of(shared, total, self.metric)
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


def _choose_folded_bytes(bits: NDArray[np.int32], width: int) -> int:
    """The narrowest fold that stays sparse on average; a full one bounds nothing (RDKit path ones are dense)."""
    mean = float(bits.mean()) if len(bits) else 0.0
    return next((size for size in _FOLDED_BYTES if size < width and mean <= _LARGEST_FOLDED_FILL * 8 * size), width)


def _split_blocks(group_starts: NDArray[np.int64], rows: int) -> list[tuple[int, int]]:
    """Neighbouring groups put together to at least so many rows, as (first, last + 1)."""
    blocks: list[tuple[int, int]] = []
    first = 0
    for last in range(1, len(group_starts)):
        if group_starts[last] - group_starts[first] >= rows:
            blocks.append((first, last))
            first = last
    if first < len(group_starts) - 1:
        blocks.append((first, len(group_starts) - 1))
    return blocks


def _order_blocks(blocks: Sequence[tuple[int, int]], centre: int) -> list[tuple[int, int]]:
    """Nearest counts first. A block's distance is its nearer edge's; 0 for the one that holds the query's count."""
    return sorted(blocks, key=lambda block: max(block[0] - centre, centre - block[1], 0))
