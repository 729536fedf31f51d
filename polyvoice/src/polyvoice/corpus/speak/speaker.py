"""What can speak a corpus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from speechunits.audio import Waveform


class Speaker(Protocol):
    """A synthesiser in which each voice speaks every language."""

    def speak(self, text: str, language: str, voice: str, speed: float) -> Waveform:
        """Say a text.

        Args:
            text: One utterance.
            language: Its language, such as `zh`.
            voice: Who speaks.
            speed: 1 is the voice's own; more is faster.

        Raises:
            polyvoice.errors.InputError: This text cannot be spoken; others can.
        """
        ...
