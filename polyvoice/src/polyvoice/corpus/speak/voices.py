"""The voices of Kokoro-82M: which train and which test, and who speaks what.

A voice's name begins with the language of its speaker and their sex: `zf_xiaobei` is a Chinese woman. A mixture is
named for who is in it, and how much in percent: `af_bella40+zm_yunxi60`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from polyvoice.corpus.splits import hash_fraction
from polyvoice.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TEST_VOICES = (
    "af_aoede",
    "af_heart",
    "am_echo",
    "am_fenrir",
    "ef_dora",
    "em_alex",
    "pf_dora",
    "pm_alex",
    "zf_xiaoyi",
    "zm_yunxia",
)
"""The ten of Kokoro-82M's 54 voices that nothing is trained on.

Women, men and native speakers of English, Spanish and Chinese are on both sides. The English and Chinese ones are the
first of their sex by hash. Dora and Alex speak Spanish and Portuguese with one voice each (cosine of the styles 0.97),
so both of theirs are here; the third such pair, Santa's, trains.
"""

# Voices of other origin may lie in the folder too; they go by hash.
_TEST_SHARE = len(TEST_VOICES) / 54
_KOKORO_VOICE = re.compile(r"[abefhijpz][fm]_[a-z]+")
_PART = re.compile(r"(.+?)[0-9]{1,2}")


def name_mix(shares: Mapping[str, int]) -> str:
    """The name of a mixture of voices, with shares in percent."""
    return "+".join(f"{voice}{share}" for voice, share in shares.items())


def is_mix(voice: str) -> bool:
    """Whether a voice's name is that of a mixture."""
    return "+" in voice


def split_voices(voices: Sequence[str]) -> dict[str, str]:
    """`train` or `test` for each voice: fixed for those of Kokoro-82M, by hash for any other name.

    A mixture in which there is anything of a voice that tests, tests.
    """
    return {voice: "test" if _is_test(voice) else "train" for voice in voices}


def _is_test(voice: str) -> bool:
    if is_mix(voice):
        parts = [found[1] if (found := _PART.fullmatch(part)) else part for part in voice.split("+")]
        return any(_is_test(part) for part in parts)
    if _KOKORO_VOICE.fullmatch(voice):
        return voice in TEST_VOICES
    return hash_fraction("test voice", voice) < _TEST_SHARE


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
