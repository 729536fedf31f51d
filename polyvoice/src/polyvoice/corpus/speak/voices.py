"""The voices of Kokoro-82M: which train and which test, and who speaks what.

A voice's name begins with the language of its speaker and their sex: `zf_xiaobei` is a Chinese woman.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyvoice.corpus.splits import hash_fraction
from polyvoice.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

# The first letters of the voices of each group, and how many women and men of it test: both sexes and native
# speakers of English, Spanish and Chinese are on both sides. Kokoro has three Spanish voices, one of a woman.
_TEST_VOICES = {"ab": {"f": 2, "m": 2}, "e": {"f": 0, "m": 1}, "z": {"f": 1, "m": 1}, "fhijp": {"f": 2, "m": 1}}


def split_voices(voices: Sequence[str]) -> dict[str, str]:
    """`train` or `test` for each voice of Kokoro-82M: of its 54, ten test, the first of their groups by hash.

    Args:
        voices: All voices that there are, not only those that are to speak: the choice depends on them.
    """
    test: set[str] = set()
    for letters, counts in _TEST_VOICES.items():
        for sex, count in counts.items():
            group = [voice for voice in voices if voice[0] in letters and voice[1:2] == sex]
            test.update(sorted(group, key=lambda voice: hash_fraction("test voice", voice))[:count])
    return {voice: "test" if voice in test else "train" for voice in voices}


def choose_voices(key: str, split: str, voices: dict[str, str], count: int, seed: int) -> list[str]:
    """Draw the voices that say a text, by hash: other texts, and more voices, leave the choice as it is.

    Args:
        key: Names the text.
        split: The split of the text; test texts are spoken by test voices, all others by training voices.
        voices: `train` or `test` for each voice that may speak.
        count: How many different voices.
        seed: Another seed, another choice.

    Raises:
        InputError: There are not as many voices for this split.
    """
    side = "test" if split == "test" else "train"
    candidates = [voice for voice, voice_split in voices.items() if voice_split == side]
    if len(candidates) < count:
        raise InputError(f"{count} {side} voices are needed for {split} texts, and there are {len(candidates)}")
    return sorted(candidates, key=lambda voice: hash_fraction("voice", str(seed), key, voice))[:count]
