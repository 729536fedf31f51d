"""The model that ships with the package."""

from __future__ import annotations

from importlib.resources import as_file
from pathlib import Path

from molregpt.assets import asset
from molregpt.errors import InputError

SHIPPED_NAME = "local"
"""What `--backend` calls it."""


def shipped_model() -> Path:
    """Its folder.

    Raises:
        InputError: This installation has none.
    """
    folder = asset("model")
    if not folder.is_dir():
        raise InputError("this installation has no local model; train one with `molregpt train`, or give its folder")
    with as_file(folder) as path:
        return path
