"""Read and write the tensors of a CTranslate2 model file (`model.bin`), without CTranslate2.

Small Whisper models are published in this format (faster-whisper's), and CTranslate2 itself gives out only the last
layer of an encoder. The file is plain: little-endian numbers, names and raw arrays, nothing that could run
(ctranslate2/specs/model_spec.py writes it).
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from speechunits.errors import InputError
from speechunits.files import write_atomically

Array: TypeAlias = npt.NDArray[Any]

_VERSION = 6
# In the order of CTranslate2's DataType. bfloat16 (5) is left out: numpy has no such type.
_DTYPES = ("<f4", "i1", "<i2", "<i4", "<f2")


@dataclass(frozen=True, eq=False)
class Ctranslate2File:
    """What a model file holds.

    Attributes:
        specification: kind of model, such as `WhisperSpec`.
        revision: of the specification.
        tensors: name (such as `encoder/conv1/weight`) to array, in the stored type.
    """

    specification: str
    revision: int
    tensors: Mapping[str, Array]


def read_ctranslate2(path: Path) -> Ctranslate2File:
    """Read a model file of binary version 6, which CTranslate2 2.0 and later write.

    Args:
        path: the file `model.bin`.

    Raises:
        InputError: the file is missing, cut short or something else.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    try:
        return _parse(_Cursor(content))
    except (struct.error, UnicodeDecodeError, ValueError) as error:
        raise InputError(f"{path}: not a CTranslate2 model file of version {_VERSION} ({error})") from error


def write_ctranslate2(path: Path, content: Ctranslate2File) -> None:
    """Write a model file that `read_ctranslate2` and CTranslate2 read; it appears when it is complete.

    Args:
        path: the file to write.
        content: what it will hold; aliases become tensors of their own.

    Raises:
        InputError: a tensor's type is not one of the format's.
    """
    parts = [struct.pack("<I", _VERSION), _encode(content.specification)]
    parts.append(struct.pack("<II", content.revision, len(content.tensors)))
    for name, tensor in content.tensors.items():
        kinds = [kind for kind, dtype in enumerate(_DTYPES) if tensor.dtype == np.dtype(dtype)]
        if not kinds:
            raise InputError(f"{path}: tensor {name} is {tensor.dtype}, which the format does not have")
        parts += [_encode(name), struct.pack(f"<B{tensor.ndim}I", tensor.ndim, *tensor.shape)]
        parts += [struct.pack("<BI", kinds[0], tensor.nbytes), tensor.tobytes()]
    write_atomically(path, b"".join([*parts, struct.pack("<I", 0)]))


def _encode(text: str) -> bytes:
    content = text.encode() + b"\0"
    return struct.pack("<H", len(content)) + content


class _Cursor:
    """Takes little-endian values from a file's content, one after the other."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._position = 0

    def take(self, size: int) -> bytes:
        end = self._position + size
        if end > len(self._content):
            raise ValueError("it ends too early")
        part = self._content[self._position : end]
        self._position = end
        return part

    def number(self, code: str) -> int:
        (value,) = struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))
        return int(value)

    def string(self) -> str:
        return self.take(self.number("H"))[:-1].decode("utf-8")  # the length counts a closing zero


def _parse(cursor: _Cursor) -> Ctranslate2File:
    version = cursor.number("I")
    if version != _VERSION:
        raise ValueError(f"its version is {version}")
    specification, revision = cursor.string(), cursor.number("I")
    tensors = {}
    for _ in range(cursor.number("I")):
        name = cursor.string()
        shape = [cursor.number("I") for _ in range(cursor.number("B"))]
        kind = cursor.number("B")
        if kind >= len(_DTYPES):
            raise ValueError(f"{name} has data type {kind}")
        size, dtype = cursor.number("I"), np.dtype(_DTYPES[kind])
        if size != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"{name} of shape {shape} has {size} bytes")
        tensors[name] = np.frombuffer(cursor.take(size), dtype=dtype).reshape(shape)
    for _ in range(cursor.number("I")):
        alias, name = cursor.string(), cursor.string()
        if name not in tensors:
            raise ValueError(f"{alias} stands for {name}, which is not there")
        tensors[alias] = tensors[name]
    return Ctranslate2File(specification, revision, tensors)
