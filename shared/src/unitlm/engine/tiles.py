"""The inner kernel: 64 rows of a packed matrix times a few vectors, written as LLVM vector code.

Compilers turn a plain matrix-vector loop into code that waits for its own sums: 3 GB/s where memory gives 25. So this
one loop is spelled out. Two instructions are named, the 8-bit dot product of AVX-512 VNNI and the 16-bit one of AVX2;
where there is neither, 8-bit weights are made floats.

A matrix [N, K] is packed in groups of 64 rows (`unitlm.engine.packing`): four vectors of 16 lanes, a lane belonging to
a row, one vector's words of columns after the other's. So each vector is a stream that the processor's prefetcher can
follow, and as many are read at once as pay. A 32-bit word holds one float32, two bf16 or four int8 columns.

The sum of a row always runs over the columns in the same order, however many vectors are multiplied at once: scores
do not depend on what else is in the batch, and checking a draft gives to the last bit what writing gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, product
from typing import Any

from llvmlite import ir
from numba import types

from unitlm.engine.packing import COLUMNS_IN_WORD, GROUP
from unitlm.engine.vector_code import (
    FLOAT,
    FLOATS,
    INT,
    INTS,
    LANES,
    LONG,
    SHORT,
    VECTOR_BYTES,
    VectorWriter,
    has_feature,
    vector_function,
)
from unitlm.language_model import Precision

VECTORS = GROUP // LANES
"""Vectors in a group: as many sums as hide the latency of a fused multiply-add, where registers hold them."""
BLOCK_WORDS = 128
"""Words whose 8-bit columns times 16-bit inputs are added up exactly: 512 * 127 * 32767 < 2**31."""
# Far enough ahead to bridge a page boundary, where hardware prefetching stops, and the wait for memory.
_PREFETCH_BYTES = 8192
_PRECISIONS: dict[Any, Precision] = {types.float32: "fp32", types.uint16: "bf16", types.int8: "int8"}
_HALF_LANES, _HALF_BYTES = LANES // 2, VECTOR_BYTES // 2
_HALF_INTS, _HALF_FLOATS = ir.VectorType(INT, _HALF_LANES), ir.VectorType(FLOAT, _HALF_LANES)
_HALF_SHORTS = ir.VectorType(SHORT, LANES)


def has_vnni() -> bool:
    """Whether this processor multiplies and adds bytes in one instruction (AVX-512 VNNI)."""
    return has_feature("avx512vnni")


def has_pairs() -> bool:
    """Whether this processor multiplies 16-bit integers and adds neighbouring products in one instruction (AVX2)."""
    return has_feature("avx2")


def vectors_at_once(sums: int) -> int:
    """How many vectors of a group are read at once if each takes so many sums: what registers hold, and some left over.

    Without AVX-512, one: the registers, half as many and half as wide, hold the sums of few, and memory gives most to
    one stream.
    """
    room = 24 if has_feature("avx512f") else 0
    return next(count for count in (4, 2, 1) if count == 1 or count * sums <= room)


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

    def from_word(self, writer: VectorWriter, word: ir.Value, input_bytes: int) -> _Operands:
        """From a word on, each of which takes so many bytes of an input; how many are left is for others to know."""
        weights = writer.add(self.weights, writer.times(word, VECTOR_BYTES))
        return replace(self, weights=weights, inputs=writer.add(self.inputs, writer.times(word, input_bytes)))

    def from_vector(self, writer: VectorWriter, vector: ir.Value) -> _Operands:
        """The group's rows from a vector on."""
        offset = writer.times(vector, VECTOR_BYTES)
        places = {name: writer.add(getattr(self, name), offset) for name in ("scales", "sums", "outputs")}
        return replace(self, weights=writer.add(self.weights, writer.builder.mul(offset, self.words)), **places)


def _parts(writer: VectorWriter, operands: _Operands, vectors: int) -> Iterator[_Operands]:
    """The loop over parts of a group, each of so many vectors."""
    if vectors == VECTORS:
        yield operands
        return
    with writer.loop(ir.Constant(LONG, VECTORS // vectors)) as index:
        yield operands.from_vector(writer, writer.times(index, vectors))


def _stream(
    writer: VectorWriter, operands: _Operands, vectors: int, words: ir.Value
) -> Iterator[tuple[ir.Value, list[ir.Value]]]:
    """The loop over so many words: the index of each, and the addresses of its first vectors."""
    starts = writer.rows(operands.weights, writer.times(operands.words, VECTOR_BYTES), vectors)
    with writer.loop(words) as index:
        addresses = [writer.add(start, writer.times(index, VECTOR_BYTES)) for start in starts]
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
    builder, vectors = writer.builder, vectors_at_once(positions)
    in_word = COLUMNS_IN_WORD[_PRECISIONS[kind]]
    for part in _parts(writer, operands, vectors):
        rows = _rows(writer, part, positions)
        totals = writer.zeros(FLOATS, positions, vectors)
        for index, addresses in _stream(writer, part, vectors, part.words):
            inputs = [writer.add(row, writer.times(index, 4 * in_word)) for row in rows]
            for vector, address in enumerate(addresses):
                for column, weights in enumerate(_columns(writer, kind, address)):
                    for one, sums in zip(inputs, totals, strict=True):
                        factor = writer.spread(writer.load(one, FLOAT, 4 * column), FLOATS)
                        total = builder.load(sums[vector])
                        builder.store(writer.multiply_add(weights, factor, total), sums[vector])
        for row, sums in zip(_sums(writer, part, positions), totals, strict=True):
            for vector, total in enumerate(sums):
                writer.store(builder.load(total), row, vector * VECTOR_BYTES)
    if kind == types.int8:
        _scale(writer, operands, [None] * positions)


def _write_byte_tile(writer: VectorWriter, positions: int, operands: _Operands) -> None:
    """Exact integer sums of 8-bit weights and 16-bit inputs, which come as high bytes and, behind them, low bytes.

    The instruction takes one operand without sign, so inputs are shifted up by 2**15; row sums take that away again.
    """
    builder, vectors = writer.builder, vectors_at_once(2 * positions)
    dot = "llvm.x86.avx512.vpdpbusd.512"
    behind = writer.times(operands.words, 4)
    for part in _parts(writer, operands, vectors):
        high_rows = _rows(writer, part, positions)
        totals = writer.zeros(INTS, positions, 2, vectors)
        for index, addresses in _stream(writer, part, vectors, part.words):
            weights = [writer.load(address, INTS) for address in addresses]
            offset = writer.times(index, 4)
            for high_row, halves in zip(high_rows, totals, strict=True):
                row = writer.add(high_row, offset)
                for start, sums in zip((row, writer.add(row, behind)), halves, strict=True):
                    factor = writer.spread(writer.load(start, INT), INTS)
                    for weight, total in zip(weights, sums, strict=True):
                        builder.store(writer.call(dot, INTS, builder.load(total), factor, weight), total)
        for row, halves in zip(_sums(writer, part, positions), totals, strict=True):
            for vector, (high, low) in enumerate(zip(*halves, strict=True)):
                shift = writer.load(part.sums, INTS, vector * VECTOR_BYTES)
                upper = builder.sitofp(builder.sub(builder.load(high), shift), FLOATS)
                lower = builder.sitofp(builder.load(low), FLOATS)
                value = writer.multiply_add(upper, ir.Constant(FLOATS, [256.0] * LANES), lower)
                writer.store(value, row, vector * VECTOR_BYTES)
    _scale(writer, operands, _input_scales(writer, operands, positions))


def _write_pair_tile(writer: VectorWriter, positions: int, operands: _Operands) -> None:
    """Sums of 8-bit weights and 16-bit inputs, whose columns come in the order 0 2 1 3; exact within a block.

    A word's bytes 0 and 2 become two 16-bit integers by two shifts, its bytes 1 and 3 by one.
    """
    builder, vectors = writer.builder, vectors_at_once(4 * positions)  # two halves, exact and as floats
    halves = [(vector, half) for vector in range(vectors) for half in (0, _HALF_BYTES)]
    multiply, eight = "llvm.x86.avx2.pmadd.wd", ir.Constant(_HALF_SHORTS, [8] * LANES)
    for part in _parts(writer, operands, vectors):
        totals = writer.zeros(_HALF_FLOATS, positions, len(halves))
        for first, words in writer.blocks(part.words, BLOCK_WORDS):
            block = part.from_word(writer, first, 8)
            rows = _rows(writer, block, positions)
            exact = writer.zeros(_HALF_INTS, positions, len(halves))
            for index, addresses in _stream(writer, block, vectors, words):
                offset = writer.times(index, 8)
                for place, (vector, half) in enumerate(halves):
                    word = builder.bitcast(writer.load(addresses[vector], _HALF_INTS, half), _HALF_SHORTS)
                    pairs = builder.ashr(builder.shl(word, eight), eight), builder.ashr(word, eight)
                    for (row, sums), (late, pair) in product(zip(rows, exact, strict=True), enumerate(pairs)):
                        factor = writer.spread(writer.load(writer.add(row, offset), INT, 4 * late), _HALF_INTS)
                        products = writer.call(multiply, _HALF_INTS, pair, builder.bitcast(factor, _HALF_SHORTS))
                        builder.store(builder.add(builder.load(sums[place]), products), sums[place])
            for total, one in zip(chain(*totals), chain(*exact), strict=True):
                more = builder.sitofp(builder.load(one), _HALF_FLOATS)
                builder.store(builder.fadd(builder.load(total), more), total)
        for row, sums in zip(_sums(writer, part, positions), totals, strict=True):
            for (vector, half), total in zip(halves, sums, strict=True):
                writer.store(builder.load(total), row, vector * VECTOR_BYTES + half)
    _scale(writer, operands, _input_scales(writer, operands, positions))


def _rows(writer: VectorWriter, operands: _Operands, positions: int) -> list[ir.Value]:
    """Where each input begins."""
    return writer.rows(operands.inputs, operands.input_stride, positions)


def _sums(writer: VectorWriter, operands: _Operands, positions: int) -> list[ir.Value]:
    """Where the results of each input go; meanwhile they hold its sums."""
    return writer.rows(operands.outputs, operands.output_stride, positions)


def _input_scales(writer: VectorWriter, operands: _Operands, positions: int) -> list[ir.Value | None]:
    scales = [writer.load(operands.input_scales, FLOAT, 4 * position) for position in range(positions)]
    return [writer.spread(scale, FLOATS) for scale in scales]


def _scale(writer: VectorWriter, operands: _Operands, input_scales: list[ir.Value | None]) -> None:
    """Multiply the sums by the scales of inputs, if they have any, and of rows."""
    builder = writer.builder
    for row, scale in zip(_sums(writer, operands, len(input_scales)), input_scales, strict=True):
        for offset in range(0, VECTORS * VECTOR_BYTES, VECTOR_BYTES):
            value = writer.load(row, FLOATS, offset)
            value = value if scale is None else builder.fmul(value, scale)
            writer.store(builder.fmul(value, writer.load(operands.scales, FLOATS, offset)), row, offset)


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
        elif kind == types.int8 and has_pairs():
            _write_pair_tile(writer, positions, operands)
        else:
            _write_float_tile(writer, kind, positions, operands)

    return tile
