"""How the engine's functions are compiled, and kept on disk for the next process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile with numba at first use, without the interpreter's lock, and keep the result on disk.

    numba takes a stored result for current as long as the function's own file is unchanged, though code of other files
    is part of it. So the name under which it is stored tells all of the engine's sources.
    """
    function.__qualname__ = f"{function.__qualname__}_{_DIGEST}"
    njit: Any = partial(numba.njit, nogil=True, fastmath=True, error_model="numpy")
    try:
        return cast("Function", njit(cache=True)(function))
    except RuntimeError:  # there is no folder that could be written to
        return cast("Function", njit(function))


def _digest_sources() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


_DIGEST = _digest_sources()
