"""Published fairseq centroids (`km.bin`) without running what is in the file.

A `km.bin` is a joblib dump of a scikit-learn MiniBatchKMeans: a pickle stream with the bytes of each numpy array laid
between its instructions. Loading it as usual would run whatever the file asks for, and needs a scikit-learn of the
same age. Here every class and function that the stream names becomes an inert record that only remembers what it was
given; the one thing done with the file's content is to read the bytes of plain numeric arrays.
"""

import math
import os
import pickle
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from speechunits.errors import InputError
from speechunits.kmeans import Features, KMeans, Provenance

_ESTIMATORS = ("MiniBatchKMeans", "KMeans")
_NUMERIC_KINDS = "biuf"


def import_fairseq_kmeans(path: Path, encoder: str = "", frame_rate_hz: float = 0.0) -> KMeans:
    """Read a published fairseq `km.bin` (for example `hubert_base_ls960_L9_km500.bin`); nothing in it is executed.

    Args:
        path: an uncompressed joblib dump of a scikit-learn KMeans or MiniBatchKMeans.
        encoder: identity of the encoder that the centroids belong to, if known; the file does not say.
        frame_rate_hz: features per second, if known.

    Raises:
        InputError: the file is missing or is something else.
    """
    try:
        with path.open("rb") as stream:
            estimator = _InertUnpickler(stream).load()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    # A malformed stream fails in the interpreter of the opcodes, in whatever way its operands do not fit.
    except Exception as error:
        raise InputError(f"{path}: not a joblib dump of a scikit-learn k-means ({error})") from error
    if not isinstance(estimator, _Record) or estimator.names[1] not in _ESTIMATORS:
        raise InputError(f"{path}: not a joblib dump of a scikit-learn k-means")
    wrapped = estimator.state.get("cluster_centers_")
    if not isinstance(wrapped, _StoredArray):
        raise InputError(f"{path}: the k-means has no cluster_centers_: it was never fitted")
    try:
        return KMeans(wrapped.values, Provenance(encoder, frame_rate_hz, 0, 0, f"imported from {path.name}"))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


class _Record:
    """Stands for an object of any class: takes every argument and state, does nothing."""

    names: tuple[str, str] = ("", "")  # module and name of the class that it stands for
    arguments: tuple[Any, ...]
    state: dict[str, Any]

    def __new__(cls, *arguments: Any) -> "_Record":
        # Not in __init__: the stream may make an object without calling that.
        record = super().__new__(cls)
        record.arguments = arguments
        record.state = {}
        return record

    def __init__(self, *arguments: Any) -> None:
        """Take what `__new__` took."""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.state = state


class _StoredArray(_Record):
    """joblib's NumpyArrayWrapper: shape and dtype are its state, the bytes follow in the file."""

    stream: BinaryIO
    values: Features

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state)
        dtype = _parse_dtype(self.state["dtype"])
        shape = tuple(int(size) for size in self.state["shape"])
        if self.state.get("numpy_array_alignment_bytes") is not None:  # joblib 1.2 and later align the bytes
            self.stream.read(self.stream.read(1)[0])
        size = math.prod(shape) * dtype.itemsize
        # Asked before reading: a false shape would reserve any amount of memory.
        if min(shape, default=0) < 0 or size > os.fstat(self.stream.fileno()).st_size:
            raise ValueError(f"an array of shape {shape} does not fit into the file")
        content = self.stream.read(size)
        flat = np.frombuffer(content, dtype=dtype).astype(np.float32)
        self.values = flat.reshape(shape[::-1]).T if self.state.get("order") == "F" else flat.reshape(shape)


def _parse_dtype(record: Any) -> np.dtype[Any]:
    """Rebuild a numeric numpy dtype from its record: constructor arguments ('f4', ...), state (version, '<', ...)."""
    if not isinstance(record, _DtypeRecord):
        raise ValueError("an array without a numpy dtype")
    dtype = np.dtype(str(record.arguments[0]))
    if dtype.kind not in _NUMERIC_KINDS:
        raise ValueError(f"an array of dtype {dtype}")
    return dtype.newbyteorder(record.byte_order)


class _DtypeRecord(_Record):
    byte_order: Literal["<", ">", "="] = "="

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">"):
            self.byte_order = state[1]


class _InertUnpickler(pickle._Unpickler):
    """Reads opcodes in Python, not in C: the C reader fetches ahead, past the point where an array's bytes begin."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(stream)
        self._stream = stream

    def find_class(self, module: str, name: str) -> Any:
        """Return a fresh inert class for any name."""
        base: type[_Record] = _Record
        members: dict[str, Any] = {"names": (module, name)}
        if name == "NumpyArrayWrapper":
            base, members["stream"] = _StoredArray, self._stream
        elif (module, name) == ("numpy", "dtype"):
            base = _DtypeRecord
        return type(name, (base,), members)
