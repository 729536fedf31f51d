"""What ships with the package: a bundle, and recordings to translate with it."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

from polyvoice.errors import InputError


def shipped_bundle() -> Path:
    """The folder of the bundle.

    Raises:
        InputError: this installation has none.
    """
    return _find("bundle", "no bundle ships with this installation; make one with `polyvoice bundle`, or give --bundle")


def shipped_recordings() -> Path:
    """The pair manifest of recordings of all directions, none of which any model was trained on.

    Raises:
        InputError: this installation has none.
    """
    return _find("recordings", "no recordings ship with this installation; give --evaluation") / "pairs.tsv"


def _find(name: str, absent: str) -> Path:
    folder = files("polyvoice").joinpath("shipped", name)
    if not folder.is_dir():
        raise InputError(absent)
    with as_file(folder) as path:
        return path
