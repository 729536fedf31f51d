"""What ships with the package: a bundle, and recordings to translate with it."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal

from polyvoice.errors import InputError

Recordings = Literal["few", "test"]


def shipped_bundle() -> Path:
    """The folder of the bundle.

    Raises:
        InputError: this installation has none.
    """
    return _find("bundle", "no bundle ships with this installation; make one with `polyvoice bundle`, or give --bundle")


def shipped_recordings(which: Recordings = "few") -> Path:
    """The pair manifest of recordings of all directions, none of which any model was trained on.

    Args:
        which: `few`, six of each direction, a real speaker's among them; `test`, the twenty phrases of each direction
            that the card of the bundle has scores of.

    Raises:
        InputError: this installation has none.
    """
    folder = _find("recordings", "no recordings ship with this installation; give --evaluation")
    return folder / {"few": "pairs.tsv", "test": "test.tsv"}[which]


def _find(name: str, absent: str) -> Path:
    folder = files("polyvoice").joinpath("shipped", name)
    if not folder.is_dir():
        raise InputError(absent)
    with as_file(folder) as path:
        return path
