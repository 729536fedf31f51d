"""What every neural codec offers."""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from speechunits.audio import Waveform

Codes: TypeAlias = npt.NDArray[np.int64]


class Codec(Protocol):
    """Turns a waveform into codes of K levels at a fixed frame rate, and codes back into a waveform."""

    @property
    def sample_rate_hz(self) -> int:
        """Rate of decoded waveforms; waveforms of other rates are resampled before they are encoded."""

    @property
    def frame_rate_hz(self) -> float:
        """Frames per second."""

    @property
    def levels(self) -> int:
        """K, codes per frame; level 0 is the coarsest."""

    @property
    def codebook_size(self) -> int:
        """How many codes each level has."""

    @property
    def identity(self) -> str:
        """Names weights and levels; equal identities give equal codes."""

    def encode(self, waveform: Waveform) -> Codes:
        """Return codes `[K, T]`."""

    def decode(self, codes: Codes) -> Waveform:
        """Return the waveform of codes `[K', T]`, where the first K' levels of K are enough.

        Raises:
            InputError: the codes are not integers `[K', T]` within the codebook.
        """

    def encode_batch(self, waveforms: Sequence[Waveform]) -> list[Codes]:
        """Return what `encode` returns for each."""

    def decode_batch(self, codes: Sequence[Codes]) -> list[Waveform]:
        """Return what `decode` returns for each."""
