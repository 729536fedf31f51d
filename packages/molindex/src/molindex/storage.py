"""The index file: arrays and their provenance in one file that opens memory-mapped.

The layout is that of safetensors (8 bytes of header length, a JSON header, the arrays), so any safetensors reader can
open it. One entry of the header's metadata is ours, `molindex`: JSON with the provenance, each array's SHA-256, and a
digest of both and of every array's name, type and shape. The digest is checked on opening; the arrays on request, since
that reads the whole file. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from molindex.errors import InputError

FORMAT_VERSION = 1
IndexKind = Literal["molecules", "captions"]

_ENTRY = "molindex"
_TYPES = {"U8": np.uint8, "I32": np.int32, "I64": np.int64, "F64": np.float64}
_TYPE_NAMES = {np.dtype(numpy_type): name for name, numpy_type in _TYPES.items()}

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where an index comes from and how it was made.

    Attributes:
        kind: What is indexed.
        settings: The fingerprint (`morgan:2:2048`) or the tokenizer and BM25 parameters, as one word.
        library: Name and version of what computed it (`rdkit 2026.09.1`).
        rows: Rows in the index.
        rejected: Rows that were given but could not be indexed.
        source_sha256: SHA-256 of the rows that were read, `key TAB smiles-or-text NEWLINE` in UTF-8; a row whose
            SMILES RDKit refuses counts, one that had no such fields does not.
        format_version: Of this file format.
    """

    kind: IndexKind
    settings: str
    library: str
    rows: int
    rejected: int
    source_sha256: str
    format_version: int = FORMAT_VERSION


def write_index(path: Path, provenance: Provenance, arrays: Arrays) -> None:
    """Write an index file atomically: a temporary name in the same folder, fsync, rename.

    Raises:
        InputError: The disk is full, or the folder cannot be written.
    """
    stated = asdict(provenance)
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    sums = {name: hashlib.sha256(array.data).hexdigest() for name, array in contiguous.items()}
    shapes = {name: (_TYPE_NAMES[array.dtype], list(array.shape)) for name, array in contiguous.items()}
    facts = {"provenance": stated, "sums": sums, "digest": _digest(stated, sums, shapes)}
    # One entry only: safetensors writes several in random order, and equal indexes should be equal files.
    metadata = {_ENTRY: json.dumps(facts, sort_keys=True)}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            safetensors.numpy.save_file(contiguous, temporary, metadata)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f"{path}: cannot be written ({getattr(error, 'strerror', None) or error})") from error


def read_index(path: Path, kind: IndexKind, *, verify: bool = False) -> tuple[Provenance, dict[str, NDArray[Any]]]:
    """Open an index file memory-mapped.

    Args:
        path: The file.
        kind: What it must hold.
        verify: Also check every array against its SHA-256, which reads the whole file.

    Returns:
        The provenance, and the arrays: read-only views of the file, read from disk as they are used.

    Raises:
        InputError: The file is missing, cut off, damaged, of another kind or of another format version.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as checked:  # checks the header against the file's length
            metadata: Mapping[str, str] = checked.metadata() or {}
        with path.open("rb") as file:
            view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        data_begin = 8 + int.from_bytes(view[:8], "little")
        table = json.loads(view[8:data_begin])
        facts = json.loads(metadata[_ENTRY])
        stated, sums = facts["provenance"], facts["sums"]
        table.pop("__metadata__")
        shapes = {name: (entry["dtype"], entry["shape"]) for name, entry in table.items()}
        if _digest(stated, sums, shapes) != facts["digest"]:
            raise InputError(f"{path}: damaged: the header does not agree with its own digest; build the index again")
        provenance = _read_provenance(path, stated, kind)
    except OSError as error:
        raise InputError(f"{path}: cannot be opened: {error.strerror or error}") from error
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not a complete molindex file ({type(error).__name__}: {error})") from error
    arrays = {
        name: _view(view, entry["dtype"], entry["shape"], data_begin + entry["data_offsets"][0])
        for name, entry in table.items()
    }
    if verify:
        for name, array in arrays.items():
            if hashlib.sha256(array.data).hexdigest() != sums[name]:
                raise InputError(f"{path}: damaged: {name} does not agree with its SHA-256; build the index again")
    return provenance, arrays


def _view(file: mmap.mmap, type_name: str, shape: list[int], begin: int) -> NDArray[Any]:
    return np.frombuffer(file, _TYPES[type_name], math.prod(shape), begin).reshape(shape)


def _read_provenance(path: Path, fields: dict[str, Any], kind: IndexKind) -> Provenance:
    version = fields["format_version"]
    if version != FORMAT_VERSION:
        raise InputError(f"{path}: index format {version}, this molindex reads {FORMAT_VERSION}; build the index again")
    if fields["kind"] != kind:
        raise InputError(f"{path}: an index of {fields['kind']}, expected one of {kind}")
    return Provenance(**fields)


def _digest(stated: dict[str, Any], sums: Mapping[str, str], shapes: Mapping[str, tuple[str, list[int]]]) -> str:
    facts = json.dumps([stated, sums, {name: list(shape) for name, shape in shapes.items()}], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()
