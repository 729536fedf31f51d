"""Audio files to units with run lengths."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from speechunits.clustering import encode_files, fit_units, load_centroids, require_same_encoder
from speechunits.encoders.protocol import SpeechEncoder
from speechunits.kmeans import KMeans
from speechunits.runs import Runs, deduplicate

__all__ = ["UtteranceUnits", "extract_units", "fit_units", "load_centroids"]


@dataclass(frozen=True, eq=False)
class UtteranceUnits:
    """The units of one audio file.

    Attributes:
        audio: the file.
        duration_s: its length in seconds.
        runs: units `[S]` with their lengths in frames.
    """

    audio: Path
    duration_s: float
    runs: Runs


def extract_units(paths: Sequence[Path], encoder: SpeechEncoder, kmeans: KMeans) -> Iterator[UtteranceUnits]:
    """Yield the units of each file, in the order given.

    Raises:
        speechunits.errors.InputError: a file cannot be read or is shorter than one frame, or the centroids were fitted
            on another encoder or layer.
    """
    require_same_encoder(kmeans, encoder)
    for file in encode_files(paths, encoder):
        yield UtteranceUnits(file.path, file.waveform.duration_s, deduplicate(kmeans.assign(file.features)))
