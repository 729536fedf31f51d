"""From speech back to units, to compare what was said with what should have been said where there is no text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from speechunits.audio import Waveform, resample
from speechunits.clustering import require_same_encoder
from speechunits.runs import Runs, deduplicate

if TYPE_CHECKING:
    from speechunits.encoders.protocol import SpeechEncoder
    from speechunits.kmeans import KMeans


class UnitEncoder(Protocol):
    """Hears units."""

    @property
    def identity(self) -> str:
        """Names encoder and centroids."""

    @property
    def frame_rate_hz(self) -> float:
        """Frames per second."""

    def encode(self, waveforms: Sequence[Waveform]) -> list[Runs]:
        """The units of each waveform; none where it is shorter than a frame."""


class ClusteredUnits:
    """The nearest centroid of each of an encoder's features."""

    def __init__(self, encoder: SpeechEncoder, kmeans: KMeans) -> None:
        """Bring the two together.

        Raises:
            speechunits.errors.InputError: the centroids were fitted on another encoder or layer.
        """
        require_same_encoder(kmeans, encoder)
        self._encoder = encoder
        self._kmeans = kmeans
        self.identity = f"{encoder.identity} kmeans {kmeans.identity}"
        self.frame_rate_hz = encoder.frame_rate_hz

    def encode(self, waveforms: Sequence[Waveform]) -> list[Runs]:
        """The units of each waveform; none where it is shorter than a frame."""
        heard = [resample(waveform, self._encoder.sample_rate_hz) for waveform in waveforms]
        long = [waveform for waveform in heard if waveform.samples.size >= self._encoder.shortest_samples]
        features = iter(self._encoder.encode(long))
        none = np.empty(0, dtype=np.int64)
        return [
            deduplicate(self._kmeans.assign(next(features)))
            if waveform.samples.size >= self._encoder.shortest_samples
            else Runs(none, none)
            for waveform in heard
        ]


def load_unit_encoder(encoder: str, layer: int, kmeans: Path, device: str = "cpu") -> ClusteredUnits:
    """Load an encoder and its centroids.

    Args:
        encoder: what `speechunits.encoders.load.load_encoder` takes.
        layer: the layer whose features are clustered.
        kmeans: centroids of `polyvoice kmeans`, or a published km.bin.
        device: torch device.

    Raises:
        speechunits.errors.InputError: one of them cannot be read, or they do not belong together.
    """
    from polyvoice.units import load_centroids
    from speechunits.encoders.load import load_encoder

    return ClusteredUnits(load_encoder(encoder, layer, device), load_centroids(kmeans))
