"""What a speech-to-speech translation system is asked, and what it answers: ours, or any other that is compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from speechunits.audio import Waveform
from speechunits.runs import Runs


@dataclass(frozen=True, eq=False, slots=True)
class Translated:
    """What a system said.

    Attributes:
        waveform: the speech; None when the system said nothing.
        runs: the units it said, `[S]` with their lengths in frames; None for a system without units.
        text: what it meant to say, where the system knows.
        seconds: compute seconds of each stage, by the stage's name; empty when not measured.
        first_audio_s: seconds from the end of the input to the first sound; None when not measured.
    """

    waveform: Waveform | None
    runs: Runs | None = None
    text: str | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    first_audio_s: float | None = None


class Translator(Protocol):
    """A speech-to-speech translation system."""

    @property
    def identity(self) -> str:
        """Names the system and its weights: a run is only continued with the same one."""

    def warm_up(self) -> None:
        """Load what the first translation would have to wait for, which would count to its time."""

    def translate(self, waveform: Waveform, source_lang: str, target_lang: str, *, seed: int) -> Translated:
        """Translate one utterance; the same seed gives the same speech.

        Raises:
            InputError: the system does not know the languages.
        """
