"""What every speech encoder offers."""

from collections.abc import Sequence
from typing import Protocol

from speechunits.audio import Waveform
from speechunits.kmeans import Features


class SpeechEncoder(Protocol):
    """Turns waveforms into features at a fixed frame rate."""

    @property
    def sample_rate_hz(self) -> int:
        """Rate at which the encoder hears; waveforms of other rates are resampled."""

    @property
    def frame_rate_hz(self) -> float:
        """Features per second."""

    @property
    def dimension(self) -> int:
        """D, the size of one feature."""

    @property
    def shortest_samples(self) -> int:
        """Samples at `sample_rate_hz` below which there is no frame."""

    @property
    def identity(self) -> str:
        """Names weights and layer; equal identities give equal features. Centroids remember it."""

    def encode(self, waveforms: Sequence[Waveform]) -> list[Features]:
        """Return `[T, D]` float32 per waveform, in the order given; the result does not depend on what is beside it.

        Raises:
            InputError: a waveform is too short for a single frame.
        """
