"""Bundles: one folder with everything that a translation needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polyvoice.bundle.loading import Bundle


def load(folder: Path, device: str = "cpu") -> Bundle:
    """Open a bundle; its parts are read when they are first asked for.

    Raises:
        InputError: the folder is not a bundle, or not one that this program reads.
    """
    from polyvoice.bundle.loading import Bundle

    return Bundle.open(folder, device)
