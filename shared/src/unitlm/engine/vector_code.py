"""Writing LLVM vector code from Python.

The vectors are LLVM's own, mostly 16 lanes wide, which it maps onto whatever the processor has (AVX-512: one register,
AVX2: two, NEON: four). Addresses and offsets are 64-bit integers, in bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils, codegen, config
from numba.extending import intrinsic

# Which have no types.
_code: Any = cgutils
_codegen: Any = codegen
_settings: Any = config

LANES = 16
"""Lanes of 32 bits in a vector."""
BYTE, SHORT, INT, LONG = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)
FLOAT = ir.FloatType()
INTS, FLOATS = ir.VectorType(INT, LANES), ir.VectorType(FLOAT, LANES)
VECTOR_BYTES = 4 * LANES


def has_feature(name: str) -> bool:
    """Whether numba compiles for an extension, by LLVM's name: the processor has it, and no setting forbids it."""
    return f"+{name}" in _list_features().split(",")


@cache
def _list_features() -> str:
    asked = _settings.CPU_FEATURES
    return str(_codegen.get_host_cpu_features() if asked is None else asked)


def is_x86() -> bool:
    """Whether this is a processor of Intel's family."""
    return bool(llvmlite.binding.get_process_triple().startswith(("x86_64", "i686")))


class VectorWriter:
    """A thin layer over llvmlite's builder."""

    def __init__(self, builder: ir.IRBuilder) -> None:
        self.builder = builder

    def add(self, address: ir.Value, offset: int | ir.Value) -> ir.Value:
        """An address so many bytes further on."""
        return self.builder.add(address, ir.Constant(LONG, offset) if isinstance(offset, int) else offset)

    def times(self, value: ir.Value, factor: int) -> ir.Value:
        """A multiple of an integer."""
        return self.builder.mul(value, ir.Constant(LONG, factor))

    def rows(self, address: ir.Value, stride: ir.Value, count: int) -> list[ir.Value]:
        """Addresses of rows that are `stride` bytes apart."""
        return [self.add(address, self.times(stride, row)) for row in range(count)]

    def load(self, address: ir.Value, element: ir.Type, offset: int = 0) -> ir.Value:
        """The element so many bytes behind an address."""
        return self.builder.load(self._pointer(address, element, offset), align=4)

    def store(self, value: ir.Value, address: ir.Value, offset: int = 0) -> None:
        """Write an element so many bytes behind an address."""
        self.builder.store(value, self._pointer(address, value.type, offset), align=4)

    def prefetch(self, address: ir.Value) -> None:
        """Ask for the cache line of an address, which need not exist."""
        read, keep, data = (ir.Constant(INT, number) for number in (0, 3, 1))
        self.call("llvm.prefetch.p0", ir.VoidType(), self._pointer(address, BYTE, 0), read, keep, data)

    def spread(self, scalar: ir.Value, vector: ir.Type) -> ir.Value:
        """A vector with the same number in all lanes."""
        undefined = ir.Constant(vector, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.Constant(INT, 0))
        return self.shuffle(first, undefined, [0] * vector.count)

    def shuffle(self, first: ir.Value, second: ir.Value, lanes: list[int]) -> ir.Value:
        """A vector of lanes of two others; those of the second are counted behind those of the first."""
        return self.builder.shuffle_vector(first, second, ir.Constant(ir.VectorType(INT, len(lanes)), lanes))

    def multiply_add(self, left: ir.Value, right: ir.Value, total: ir.Value) -> ir.Value:
        """Rounded once: left * right + total."""
        return self.call(f"llvm.fma.v{left.type.count}f32", left.type, left, right, total)

    def call(self, name: str, result: ir.Type, *arguments: ir.Value) -> ir.Value:
        """Call a function of LLVM's, or one of the process."""
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        return self.builder.call(_code.get_or_insert_function(self.builder.module, kind, name), arguments)

    @contextmanager
    def loop(self, count: ir.Value) -> Iterator[ir.Value]:
        """What is written inside is repeated, for an index from 0 to `count` - 1."""
        with _code.for_range(self.builder, count) as loop:
            yield loop.index

    def blocks(self, count: ir.Value, size: int) -> Iterator[tuple[ir.Value, ir.Value]]:
        """A loop over blocks of at most `size` of `count` elements: the first of each, and how many there are."""
        length = ir.Constant(LONG, size)
        rounded = self.builder.sdiv(self.add(count, size - 1), length)
        with self.loop(rounded) as index:
            first = self.builder.mul(index, length)
            left = self.builder.sub(count, first)
            yield first, self.builder.select(self.builder.icmp_signed("<", left, length), left, length)

    def variable(self, value: ir.Value) -> Any:
        """A variable that starts as a value; it becomes a register."""
        return _code.alloca_once_value(self.builder, value)

    def zeros(self, vector: ir.Type, *shape: int) -> Any:
        """Variables that start at zero, nested lists of them by shape; they become registers."""
        if not shape:
            return self.variable(ir.Constant(vector, None))
        return [self.zeros(vector, *shape[1:]) for _ in range(shape[0])]

    def _pointer(self, address: ir.Value, element: ir.Type, offset: int) -> ir.Value:
        return self.builder.inttoptr(self.add(address, offset), element.as_pointer())


def vector_function(write: Callable[[VectorWriter, types.Type, list[ir.Value]], None]) -> Callable[..., None]:
    """A numba function whose code `write` writes.

    It takes an array, whose element type is all that counts, and a tuple of integers.
    """

    def function(_: object, array: Any, numbers: Any) -> tuple[Any, Callable[..., ir.Value]]:
        def generate(context: Any, builder: ir.IRBuilder, _: object, arguments: tuple[ir.Value, ...]) -> ir.Value:
            write(VectorWriter(builder), array.dtype, _code.unpack_tuple(builder, arguments[1]))
            return context.get_dummy_value()

        return types.void(array, types.UniTuple(types.int64, len(numbers))), generate  # type: ignore[no-untyped-call]

    return cast("Callable[..., None]", intrinsic(function))
