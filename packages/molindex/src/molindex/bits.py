"""Packed bits: count, fold, and Hamming distances by faiss. Letters: see `exact`."""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray


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
    queries: NDArray[np.uint8], codes: NDArray[np.uint8], radius: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """Which of the codes [N, F] lie within `radius` of which of the queries [Q, F].

    Returns:
        Numbers of queries int64 [M], ascending; positions of codes int64 [M]; Hamming distances int32 [M].
    """
    result = faiss.RangeSearchResult(len(queries))
    pointer = faiss.swig_ptr
    sizes = (len(queries), len(codes), radius + 1, codes.shape[1])  # faiss keeps distances strictly below its radius
    faiss.hamming_range_search(pointer(queries), pointer(codes), *sizes, result)  # type: ignore[attr-defined]
    ends = faiss.rev_swig_ptr(result.lims, len(queries) + 1)
    count = int(ends[-1])
    if not count:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int32)
    numbers = np.repeat(np.arange(len(queries)), ends[1:].astype(np.int64) - ends[:-1].astype(np.int64))
    # Copied: the result's memory goes with the result.
    positions = faiss.rev_swig_ptr(result.labels, count).copy()
    return numbers, positions, faiss.rev_swig_ptr(result.distances, count).astype(np.int32)
