"""The inner kernel: 64 rows of a packed matrix times a few vectors, written as LLVM vector code.

Compilers turn a plain matrix-vector loop into code that waits for its own sums: 3 GB/s where memory gives 25. So this
one loop is spelled out. No instruction is named but one, the 8-bit dot product of AVX-512 VNNI, and that has a
replacement.

A matrix [N, K] is packed in groups of 64 rows (`unitlm.engine.packing`). Within a group the weights lie in the order in
which they are read, one stream that the processor's prefetcher can follow: for each word of columns four vectors of 16
lanes, a lane belonging to a row. A 32-bit word holds one float32, two bf16 or four int8 columns.

The sum of a row always runs over the columns in the same order, however many vectors are multiplied at once: scores
do not depend on what else is in the batch, and checking a draft gives to the last bit what writing gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import llvmlite.binding
from llvmlite import ir
from numba import types

from unitlm.engine.packing import GROUP
from unitlm.engine.vector_code import (
    FLOAT,
    FLOATS,
    INT,
    INTS,
    LANES,
    VECTOR_BYTES,
    VectorWriter,
    vector_function,
)

VECTORS = GROUP // LANES
"""Vectors in a group: as many sums as hide the latency of a fused multiply-add."""
# Far enough ahead to bridge a page boundary, where hardware prefetching stops.
_PREFETCH_BYTES = 4096


def has_vnni() -> bool:
    """Whether this processor multiplies and adds bytes in one instruction (AVX-512 VNNI)."""
    return bool(llvmlite.binding.get_host_cpu_features().get("avx512vnni", False))


@dataclass(frozen=True)
class _Operands:
    """Addresses, strides in bytes, and the number of words of a tile's operands."""

    weights: ir.Value
    words: ir.Value
    scales: ir.Value
    sums: ir.Value
    inputs: ir.Value
    input_stride: ir.Value
    input_scales: ir.Value
    outputs: ir.Value
    output_stride: ir.Value


def _stream(writer: VectorWriter, operands: _Operands) -> Iterator[tuple[ir.Value, list[ir.Value]]]:
    """The loop over the words of a group: the index of each, and its vectors' addresses."""
    with writer.loop(operands.words) as index:
        here = writer.add(operands.weights, writer.times(index, VECTORS * VECTOR_BYTES))
        addresses = [writer.add(here, vector * VECTOR_BYTES) for vector in range(VECTORS)]
        for address in addresses:
            writer.prefetch(writer.add(address, _PREFETCH_BYTES))
        yield index, addresses


def _columns(writer: VectorWriter, kind: types.Type, address: ir.Value) -> list[ir.Value]:
    """The columns of a word as float vectors."""
    builder = writer.builder
    if kind == types.float32:
        return [writer.load(address, FLOATS)]
    word = writer.load(address, INTS)
    if kind == types.uint16:  # the low half is the first column; bf16 is the upper half of a float32
        low = builder.shl(word, ir.Constant(INTS, [16] * LANES))
        high = builder.and_(word, ir.Constant(INTS, [0xFFFF0000] * LANES))
        return [builder.bitcast(half, FLOATS) for half in (low, high)]
    right = ir.Constant(INTS, [24] * LANES)
    lefts = [builder.shl(word, ir.Constant(INTS, [shift] * LANES)) for shift in (24, 16, 8, 0)]
    return [builder.sitofp(builder.ashr(left, right), FLOATS) for left in lefts]


def _write_float_tile(writer: VectorWriter, kind: types.Type, positions: int, operands: _Operands) -> None:
    """Sums in float32 over weights of any type."""
    builder = writer.builder
    rows = writer.rows(operands.inputs, operands.input_stride, positions)
    totals = writer.zeros(FLOATS, positions, VECTORS)
    for index, addresses in _stream(writer, operands):
        columns = [_columns(writer, kind, address) for address in addresses]
        in_word = len(columns[0])
        offset = writer.times(index, 4 * in_word)
        for column, (row, sums) in product(range(in_word), zip(rows, totals, strict=True)):
            factor = writer.spread(writer.load(writer.add(row, offset), FLOAT, 4 * column), FLOATS)
            for vector, total in enumerate(sums):
                builder.store(writer.multiply_add(columns[vector][column], factor, builder.load(total)), total)
    for row, sums in zip(writer.rows(operands.outputs, operands.output_stride, positions), totals, strict=True):
        for vector, total in enumerate(sums):
            value = builder.load(total)
            if kind == types.int8:
                value = builder.fmul(value, writer.load(operands.scales, FLOATS, vector * VECTOR_BYTES))
            writer.store(value, row, vector * VECTOR_BYTES)


def _write_byte_tile(writer: VectorWriter, positions: int, operands: _Operands) -> None:
    """Exact integer sums of 8-bit weights and 16-bit inputs, which come as high bytes and, behind them, low bytes.

    The instruction takes one operand without sign, so inputs are shifted up by 2**15; row sums take that away again.
    """
    builder = writer.builder
    dot = "llvm.x86.avx512.vpdpbusd.512"
    high_rows = writer.rows(operands.inputs, operands.input_stride, positions)
    behind = writer.times(operands.words, 4)
    totals = writer.zeros(INTS, positions, 2, VECTORS)
    for index, addresses in _stream(writer, operands):
        weights = [writer.load(address, INTS) for address in addresses]
        offset = writer.times(index, 4)
        for high_row, halves in zip(high_rows, totals, strict=True):
            row = writer.add(high_row, offset)
            for start, sums in zip((row, writer.add(row, behind)), halves, strict=True):
                factor = writer.spread(writer.load(start, INT), INTS)
                for weight, total in zip(weights, sums, strict=True):
                    builder.store(writer.call(dot, INTS, builder.load(total), factor, weight), total)
    outputs = writer.rows(operands.outputs, operands.output_stride, positions)
    for position, (row, halves) in enumerate(zip(outputs, totals, strict=True)):
        scale = writer.spread(writer.load(operands.input_scales, FLOAT, 4 * position), FLOATS)
        for vector, (high, low) in enumerate(zip(*halves, strict=True)):
            shift = writer.load(operands.sums, INTS, vector * VECTOR_BYTES)
            upper = builder.sitofp(builder.sub(builder.load(high), shift), FLOATS)
            lower = builder.sitofp(builder.load(low), FLOATS)
            value = writer.multiply_add(upper, ir.Constant(FLOATS, [256.0] * LANES), lower)
            row_scale = writer.load(operands.scales, FLOATS, vector * VECTOR_BYTES)
            writer.store(builder.fmul(builder.fmul(value, scale), row_scale), row, vector * VECTOR_BYTES)


def make_tile(positions: int) -> Callable[..., None]:
    """A numba function that multiplies a group of rows by so many vectors.

    It takes the packed matrix's weights, whose type decides on the code, and a tuple of nine integers: the address of
    the group's weights, the number of its words, the addresses of its scales and sums, the inputs' address, their
    stride in bytes, the address of their scales, and the outputs' address and stride in bytes.
    """

    @vector_function
    def tile(writer: VectorWriter, kind: types.Type, numbers: list[ir.Value]) -> None:
        operands = _Operands(*numbers)
        if kind == types.int8 and has_vnni():
            _write_byte_tile(writer, positions, operands)
        else:
            _write_float_tile(writer, kind, positions, operands)

    return tile
