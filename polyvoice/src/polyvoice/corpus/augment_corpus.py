"""Augmenting the sources of a manifest's training rows, in parallel; a run that was killed goes on."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from polyvoice.corpus.copies import name_copy
from polyvoice.corpus.copying import Copy, Sound, name_file, require_positive, write_copies
from polyvoice.corpus.manifest import PairRow, read_manifest, turn_round
from polyvoice.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from polyvoice.corpus.augmentation import Augmentation


def augment_corpus(
    manifest: Path,
    out: Path,
    settings: Augmentation,
    *,
    copies: int = 1,
    both_directions: bool = False,
    seed: int = 0,
    workers: int = 1,
) -> int:
    """Write a manifest of augmented copies of a manifest's training rows; dev and test stay as they are.

    The source of a copy is augmented, its target is the clean one, so no stage turns a copy round in training: the
    model would learn to speak with noise. Copies of the other direction are made by `both_directions`.

    Args:
        manifest: The pair manifest; rows without source audio have no copies.
        out: Folder to write to: `pairs.tsv`, `augment.json` and the folder `audio`.
        settings: What may happen to speech.
        copies: How many copies of each row, `ID~1`, `ID~2`, ...
        both_directions: Also turn each row round and augment what was its target, as `ID~1~back`.
        seed: Another seed, other copies.
        workers: Processes.

    Returns:
        How many rows the new manifest has.

    Raises:
        InputError: The manifest cannot be read or has no training row with audio, `copies` or `workers` is not
            positive, or the folder is of other settings or another run is writing to it.
        speechunits.errors.InputError: An audio file cannot be read.
    """
    require_positive(copies, workers)
    planned = [
        copy
        for row in read_manifest(manifest)
        if row.split == "train"
        for number in range(1, copies + 1)
        for copy in _plan(row, number, out, both_directions=both_directions)
    ]
    if not planned:
        raise InputError(f"{manifest}: no row of split train has source audio")
    return write_copies(planned, out, settings, {"seed": seed, **asdict(settings)}, seed=seed, workers=workers)


def _plan(row: PairRow, number: int, out: Path, *, both_directions: bool) -> Iterator[Copy]:
    if row.source_audio is not None:
        yield _rename(row, name_copy(row.id, number), row.source_audio, out)
    if both_directions and row.target_audio is not None:
        yield _rename(turn_round(row), name_copy(row.id, number, back=True), row.target_audio, out)


def _rename(row: PairRow, key: str, clean: Path, out: Path) -> Copy:
    path = name_file(key, out)
    return Copy(replace(row, id=key, source_audio=path), (Sound(clean, path, key),))
