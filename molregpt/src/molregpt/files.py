"""Folders to write to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from molregpt.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def make_folder(path: Path) -> None:
    """Create a folder and those above it where they are missing.

    Raises:
        InputError: It cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be created ({error.strerror})") from None
