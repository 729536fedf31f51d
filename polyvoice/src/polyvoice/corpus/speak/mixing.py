"""Making more voices for Kokoro: styles of two that train, mixed.

Kokoro speaks in a style, and between two styles lie others that speak as well: from 44 voices come as many as are
wanted. A model that learns to keep voices needs many, and `corpus voices` makes its own by speed alone.
"""

from __future__ import annotations

from itertools import chain, combinations
from random import Random
from typing import TYPE_CHECKING

from polyvoice.corpus.speak.kokoro import list_voices, read_styles
from polyvoice.corpus.speak.voices import is_mix, name_mix, split_voices
from polyvoice.errors import InputError
from speechunits.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

_LEAST_SHARE = 30


def mix_voices(folder: Path, out: Path, count: int, seed: int = 0) -> list[str]:
    """Write voices, each a mixture of two that train; voices that test are in none.

    Args:
        folder: Kokoro's voices, NAME.bin.
        out: Folder to write to; other voices there stay.
        count: How many; each of another two, so that all are of different speakers.
        seed: Another seed, other mixtures.

    Returns:
        Their names, such as `af_bella40+zm_yunxi60`: who is in them, and how much, in percent.

    Raises:
        InputError: The folder has too few voices that train, or a file of it is none.
    """
    voices = split_voices(list_voices(folder))
    training = [voice for voice, split in voices.items() if split == "train" and not is_mix(voice)]
    couples = list(combinations(training, 2))
    if not 1 <= count <= len(couples):
        raise InputError(
            f"{folder}: {len(training)} voices that train have {len(couples)} couples; {count} were asked for"
        )
    chance = Random(seed)  # noqa: S311  # a corpus, not a secret
    out.mkdir(parents=True, exist_ok=True)
    drawn = chance.sample(couples, count)
    styles = {voice: read_styles(folder / f"{voice}.bin") for voice in sorted({*chain.from_iterable(drawn)})}
    names = []
    for first, second in drawn:
        share = chance.randint(_LEAST_SHARE, 100 - _LEAST_SHARE)
        name = name_mix({first: share, second: 100 - share})
        mixed = styles[second] + share / 100 * (styles[first] - styles[second])
        write_atomically(out / f"{name}.bin", mixed.astype("<f4").tobytes())
        names.append(name)
    return names
