"""Ids of augmented copies: how they are written, and how a copy is told from other rows."""

from __future__ import annotations

import re

# What `merge_manifests` appends to an id that is taken already may follow.
_COPY = re.compile(r"~[0-9]+(~back)?(@[0-9]+)?\Z")


def name_copy(key: str, copy: int, *, back: bool = False) -> str:
    """The id of an augmented copy of a row, such as `hello~1`, or `hello~1~back` for one of the row turned round."""
    return f"{key}~{copy}~back" if back else f"{key}~{copy}"


def is_copy(key: str) -> bool:
    """Whether a row is an augmented copy; ids of other rows must not end in this way.

    The source of a copy is noisy and its target clean, so a copy is no example of the opposite direction.
    """
    return _COPY.search(key) is not None
