"""The vocabulary of a translation model, wherever that lies."""

from __future__ import annotations

from pathlib import Path

from polyvoice.bundle.manifest import FILE, read_manifest, resolve_inside
from polyvoice.errors import InputError
from polyvoice.stages.stage_folder import VOCABULARY
from unitlm.vocabulary import Vocabulary


def find_vocabulary(folder: Path) -> Vocabulary:
    """The vocabulary of the translation model of a bundle, a run or a finished stage.

    Raises:
        InputError: the folder is none of these.
    """
    if (folder / FILE).is_file():
        folder = resolve_inside(folder, read_manifest(folder).stages["translate"].path)
    if not (folder / VOCABULARY).is_file():
        raise InputError(f"{folder}: neither a bundle nor a translation model (no {VOCABULARY})")
    return Vocabulary.load(folder / VOCABULARY)
