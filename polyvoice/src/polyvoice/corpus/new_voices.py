"""Making more voices: both sides of a pair at the same speed, so that pitch and formants are another person's.

A language model over codes learns to keep a voice from the voices that it has heard, and a corpus has few. Played
faster or slower (as in "Audio augmentation for speech recognition", Ko et al., Interspeech 2015), one voice is several.
"""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

from polyvoice.corpus.augmentation import Augmentation
from polyvoice.corpus.copies import is_copy
from polyvoice.corpus.copying import Copy, Sound, name_file, require_positive, write_copies
from polyvoice.corpus.manifest import read_manifest
from polyvoice.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def make_voices(
    manifest: Path, out: Path, speed: tuple[float, float], *, copies: int = 1, seed: int = 0, workers: int = 1
) -> int:
    """Write copies of a manifest's training rows in new voices; dev and test stay as they are.

    Each copy of a speaker has a speed of its own and is a speaker of its own, `NAME~voice1`, `NAME~voice2`, ...; where
    the speaker is not known, each row has. Both sides are clean, so that copies are turned round in training as other
    rows are.

    Args:
        manifest: The pair manifest; rows that are not spoken on both sides have no copies, nor have those that are
            augmented copies, whose sources are noisy.
        out: Folder to write to: `pairs.tsv`, `augment.json` and the folder `audio`.
        speed: Range of speeds, by resampling.
        copies: How many new voices each speaker gets.
        seed: Another seed, other speeds.
        workers: Processes.

    Returns:
        How many rows the new manifest has.

    Raises:
        InputError: The manifest cannot be read or has no training row that is spoken on both sides, `copies` or
            `workers` is not positive, the speeds are no range, or the folder is of other settings or another run is
            writing to it.
        speechunits.errors.InputError: An audio file cannot be read.
    """
    require_positive(copies, workers)
    settings = Augmentation(
        speed=speed, pitch_share=0, noise_share=0, room_share=0, telephone_share=0, gain_db=(0.0, 0.0)
    )
    planned = []
    named: set[Path] = set()
    for row, number in product(read_manifest(manifest), range(1, copies + 1)):
        if row.split != "train" or is_copy(row.id) or row.source_audio is None or row.target_audio is None:
            continue
        voice = f"{row.speaker or row.id}~voice{number}"
        source, target = (
            Sound(clean, name_file(f"{os.path.relpath(clean, manifest.parent)} {voice}", out), voice)
            for clean in (row.source_audio, row.target_audio)
        )
        copy = replace(
            row,
            id=f"{row.id}~voice{number}",
            source_audio=source.path,
            target_audio=target.path,
            speaker=None if row.speaker is None else voice,
        )
        # A recording that several rows of one speaker share is written once.
        planned.append(Copy(copy, tuple(sound for sound in (source, target) if sound.path not in named)))
        named.update((source.path, target.path))
    if not planned:
        raise InputError(f"{manifest}: no row of split train is spoken on both sides")
    return write_copies(planned, out, settings, {"seed": seed, "voices": list(speed)}, seed=seed, workers=workers)
