"""The two inner loops of attention, written as LLVM vector code: scores of some slots at once, and sums of values."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba import types

from unitlm.engine.vector_code import (
    FLOAT,
    FLOATS,
    LANES,
    VECTOR_BYTES,
    VectorWriter,
    has_feature,
    vector_function,
)

SLOTS = LANES if has_feature("avx512f") else LANES // 2
"""Slots scored together, and lanes of a sum (of AVX-512 and AVX2 a register): half of the registers stay free."""
_PART = ir.VectorType(FLOAT, SLOTS)
# Far enough ahead that memory has answered.
_PREFETCH_BYTES = 4096


@vector_function
def score_slots(writer: VectorWriter, _: types.Type, numbers: list[ir.Value]) -> None:
    """Write the products of a query with the keys of some slots.

    Takes five integers: the addresses of query, first key and scores, the distance of keys in bytes, and how many
    vectors of `SLOTS` columns are multiplied.
    """
    query, key, scores, stride, vectors = numbers
    slots = writer.rows(key, stride, SLOTS)
    later = writer.add(key, _PREFETCH_BYTES)
    totals = writer.zeros(_PART, SLOTS)
    with writer.loop(vectors) as index:
        offset = writer.times(index, 4 * SLOTS)
        part = writer.load(writer.add(query, offset), _PART)
        # Slots are read side by side, but asked for one after the other, as they lie in memory.
        wanted = writer.add(later, writer.times(offset, SLOTS))
        for line in range(0, 4 * SLOTS * SLOTS, VECTOR_BYTES):
            writer.prefetch(writer.add(wanted, line))
        for slot, total in zip(slots, totals, strict=True):
            other = writer.load(writer.add(slot, offset), _PART)
            writer.builder.store(writer.multiply_add(part, other, writer.builder.load(total)), total)
    writer.store(_sum_each(writer, [writer.builder.load(total) for total in totals]), scores)


def _sum_each(writer: VectorWriter, vectors: list[ir.Value]) -> ir.Value:
    """One vector whose i-th lane is the sum over the lanes of the i-th of as many vectors as there are lanes."""
    width = SLOTS
    while len(vectors) > 1:
        # Each vector consists of runs of `width` lanes that belong to one sum. Folding every run in half makes room
        # for the runs of the vector that is half the list away; so the sums come out in order.
        width //= 2
        half = len(vectors) // 2
        vectors = [
            _fold(writer, first, second, width) for first, second in zip(vectors[:half], vectors[half:], strict=True)
        ]
    return vectors[0]


def _fold(writer: VectorWriter, first: ir.Value, second: ir.Value, width: int) -> ir.Value:
    """Fold runs of 2 * width lanes in half, and put the runs of both vectors side by side."""
    left = [
        source + lane for run in range(0, SLOTS, 2 * width) for source in (0, SLOTS) for lane in range(run, run + width)
    ]
    right = [lane + width for lane in left]
    return writer.builder.fadd(writer.shuffle(first, second, left), writer.shuffle(first, second, right))


def make_blend(vectors: int) -> Callable[..., None]:
    """A numba function that adds values by their weights to a result, over so many vectors of 16 columns.

    It takes five integers: the addresses of weights, first value and result, the distance of values in bytes, and the
    number of slots.
    """

    @vector_function
    def blend(writer: VectorWriter, _: types.Type, numbers: list[ir.Value]) -> None:
        weights, value, result, stride, slots = numbers
        totals = [writer.variable(writer.load(result, FLOATS, index * VECTOR_BYTES)) for index in range(vectors)]
        with writer.loop(slots) as slot:
            weight = writer.spread(writer.load(writer.add(weights, writer.times(slot, 4)), FLOAT), FLOATS)
            here = writer.add(value, writer.builder.mul(slot, stride))
            for index, total in enumerate(totals):
                part = writer.load(here, FLOATS, index * VECTOR_BYTES)
                writer.prefetch(writer.add(here, _PREFETCH_BYTES + index * VECTOR_BYTES))
                writer.builder.store(writer.multiply_add(weight, part, writer.builder.load(total)), total)
        for index, total in enumerate(totals):
            writer.store(writer.builder.load(total), result, index * VECTOR_BYTES)

    return blend
