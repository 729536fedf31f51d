"""What every neural codec offers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from speechunits.audio import Waveform
from speechunits.runs import Units

if TYPE_CHECKING:
    from speechunits.extracted import UnitsInfo

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


@dataclass(frozen=True, eq=False)
class SoftCodes:
    """Codes, of which those of the upper levels, or of all, are known by their probabilities.

    Attributes:
        codes: of all levels, or of the first ones, `[K, T]`; of those that `chances` tells of, the most probable.
        chances: probabilities of the codes of the upper levels, float32 `[K - K', T, C]`; of no level where all are
            certain.
    """

    codes: Codes
    chances: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.chances.ndim != 3 or (len(self.chances) and self.chances.shape[1] != self.codes.shape[1]):
            raise ValueError(f"probabilities {list(self.chances.shape)} do not go with codes {list(self.codes.shape)}")

    @classmethod
    def certain(cls, codes: Codes) -> "SoftCodes":
        """Codes without any doubt."""
        return cls(codes, np.empty((0, codes.shape[1], 0), np.float32))


@dataclass(frozen=True, eq=False)
class SpokenBy:
    """What is known of speech beside its codes.

    Attributes:
        units: what is said, one a code frame `[T]`; up to two may be missing at the end, as encoders leave them out.
        prompt: codes of all levels `[K, P]` of other speech in the same voice.
    """

    units: Units
    prompt: Codes


@runtime_checkable
class SoftCodec(Codec, Protocol):
    """A codec of residual levels, whose vectors add up."""

    def decode_soft(self, codes: SoftCodes) -> Waveform:
        """Return the waveform of the mean vector of every frame.

        Of all vectors it is the one with the least expected squared distance to the right one: where little is known of
        a level it adds little, while the most probable code is far off in most frames.

        Raises:
            InputError: as `decode`, or the probabilities are not of this codec's codes.
        """


@runtime_checkable
class ToldCodec(SoftCodec, Protocol):
    """A codec whose decoder may be told more than codes."""

    @property
    def told(self) -> "UnitsInfo | None":
        """What the units are that its decoder may be told; None when it can be told nothing."""

    def decode_told(self, codes: SoftCodes, spoken: SpokenBy) -> Waveform:
        """Return the waveform of codes of which it is also known what is said, and in whose voice.

        Raises:
            InputError: as `decode_soft`, the units are not one a frame or are none of these, or the prompt's codes are
                not of this codec; or its decoder can be told nothing.
        """

    def say(self, spoken: SpokenBy) -> Waveform:
        """Return the waveform of what is said in a voice, without any codes; one frame a unit.

        Raises:
            InputError: as `decode_told`.
        """


def told_of(codec: Codec) -> "UnitsInfo | None":
    """What the units are that a codec's decoder may be told; None when it can be told nothing."""
    return codec.told if isinstance(codec, ToldCodec) else None


def decode_softly(codec: Codec, codes: SoftCodes, spoken: SpokenBy | None = None) -> Waveform:
    """The waveform of uncertain codes: of their mean, or of the most probable ones with a codec that has no mean.

    Args:
        codec: any.
        codes: of all levels, or of the first ones.
        spoken: what else is known, for a codec whose decoder can be told.
    """
    if spoken is not None and isinstance(codec, ToldCodec) and codec.told is not None:
        return codec.decode_told(codes, spoken)
    return codec.decode_soft(codes) if isinstance(codec, SoftCodec) else codec.decode(codes.codes)
