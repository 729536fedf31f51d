"""Many strings as two arrays, so that an index file of a million keys opens without reading them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from molindex.errors import InputError


class PackedStrings(Sequence[str]):
    """N strings in one UTF-8 buffer; a string is decoded when it is asked for.

    Attributes:
        text: uint8 [bytes], all strings one after another.
        ends: int64 [N], where each string ends in `text`.
    """

    def __init__(self, text: NDArray[np.uint8], ends: NDArray[np.int64]) -> None:
        self.text = text
        self.ends = ends

    @classmethod
    def pack(cls, strings: Iterable[str]) -> PackedStrings:
        """Pack strings in their order."""
        encoded = [string.encode() for string in strings]
        lengths = np.fromiter((len(item) for item in encoded), np.int64, len(encoded))
        return cls(np.frombuffer(b"".join(encoded), np.uint8), np.cumsum(lengths, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(f"string {index} of {len(self)}")
        begin = int(self.ends[number - 1]) if number else 0
        return self.text[begin : int(self.ends[number])].tobytes().decode()


class KeyLookup:
    """Rows by key, by binary search over a stored order: nothing is built when an index opens.

    Attributes:
        keys: The keys in row order; a key may occur more than once.
        order: int64 [N], rows in the order of their keys.
    """

    def __init__(self, keys: PackedStrings, order: NDArray[np.int64]) -> None:
        self.keys = keys
        self.order = order

    @classmethod
    def sort(cls, keys: PackedStrings) -> KeyLookup:
        """Make the order."""
        listed = list(keys)
        return cls(keys, np.array(sorted(range(len(listed)), key=listed.__getitem__), np.int64))

    def rows(self, keys: Iterable[str]) -> NDArray[np.int64]:
        """All rows that hold any of the keys, int64; unknown keys have none.

        Raises:
            InputError: One string was given: its characters would be taken for keys.
        """
        if isinstance(keys, str):
            raise InputError(f"a collection of keys is wanted, not the one string {keys!r}")
        found: list[int] = []
        for key in set(keys):
            place = bisect_left(range(len(self.order)), key, key=lambda at: self.keys[int(self.order[at])])
            while place < len(self.order) and self.keys[int(self.order[place])] == key:
                found.append(int(self.order[place]))
                place += 1
        return np.array(sorted(found), np.int64)
