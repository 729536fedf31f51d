"""The bundle that ships with the package."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

from polyvoice.errors import InputError


def shipped_bundle() -> Path:
    """Its folder.

    Raises:
        InputError: this installation has none.
    """
    folder = files("polyvoice").joinpath("shipped", "bundle")
    if not folder.is_dir():
        raise InputError("no bundle ships with this installation; make one with `polyvoice bundle`, or give --bundle")
    with as_file(folder) as path:
        return path
