"""Audio files to units with run lengths, and the centroids that define the units."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from polyvoice.errors import InputError
from speechunits.audio import Waveform, read_audio
from speechunits.encoders.protocol import SpeechEncoder
from speechunits.fairseq_kmeans import import_fairseq_kmeans
from speechunits.kmeans import Features, KMeans, fit_kmeans, load_kmeans
from speechunits.runs import Runs, deduplicate

_FILES_AT_ONCE = 32  # enough to fill batches of similar length, few enough to hold in memory


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


def load_centroids(path: Path) -> KMeans:
    """Read centroids: our own safetensors, or a published fairseq `km.bin` when the name ends in `.bin`.

    Raises:
        speechunits.errors.InputError: the file is missing or is neither.
    """
    return import_fairseq_kmeans(path) if path.suffix == ".bin" else load_kmeans(path)


def extract_units(paths: Sequence[Path], encoder: SpeechEncoder, kmeans: KMeans) -> Iterator[UtteranceUnits]:
    """Yield the units of each file, in the order given.

    Raises:
        InputError: a file is shorter than one frame, or the centroids were fitted on another encoder or layer.
        speechunits.errors.InputError: a file cannot be read.
    """
    fitted_on = kmeans.provenance.encoder
    # Imported centroids do not say where they come from; only their dimension can be checked.
    if fitted_on and fitted_on != encoder.identity:
        raise InputError(f"the centroids were fitted on {fitted_on}, not on {encoder.identity}")
    if kmeans.centroids.shape[1] != encoder.dimension:
        raise InputError(f"the centroids have {kmeans.centroids.shape[1]} dimensions, the encoder {encoder.dimension}")
    for audio, waveform, features in _encode_files(paths, encoder):
        yield UtteranceUnits(audio, waveform.duration_s, deduplicate(kmeans.assign(features)))


def fit_units(paths: Sequence[Path], encoder: SpeechEncoder, clusters: int, *, seed: int, share: float = 1.0) -> KMeans:
    """Cluster the features of audio files into units.

    Args:
        paths: audio files.
        encoder: gives the features.
        clusters: how many units; published settings are 100 for HuBERT-base layer 6, 1,000 for mHuBERT layer 11.
        seed: for the choice of frames and of the first centroids.
        share: part of the frames that is kept, drawn at random; features of an hour take 0.5 GB at 768 dimensions.

    Raises:
        InputError: `share` is not in (0, 1], or a file is shorter than one frame.
        speechunits.errors.InputError: a file cannot be read, or there are fewer frames than clusters.
    """
    if not 0 < share <= 1:
        raise InputError(f"the share of frames must lie above 0 and at most at 1, not at {share:g}")
    generator = np.random.default_rng(seed)
    kept: list[Features] = [np.empty((0, encoder.dimension), dtype=np.float32)]
    for _, _, features in _encode_files(paths, encoder):
        kept.append(features if share == 1 else features[generator.random(len(features)) < share])
    features = np.concatenate(kept)
    if len(features) < clusters:
        raise InputError(f"{clusters} clusters cannot be made from {len(features)} frames")
    return fit_kmeans(features, clusters, seed=seed, encoder=encoder.identity, frame_rate_hz=encoder.frame_rate_hz)


def _encode_files(paths: Sequence[Path], encoder: SpeechEncoder) -> Iterator[tuple[Path, Waveform, Features]]:
    console = Console(stderr=True)
    starts = range(0, len(paths), _FILES_AT_ONCE)
    for start in track(starts, "encoding", console=console, transient=True, disable=not console.is_terminal):
        group = paths[start : start + _FILES_AT_ONCE]
        waveforms = [read_audio(path, encoder.sample_rate_hz) for path in group]
        for path, waveform in zip(group, waveforms, strict=True):
            if waveform.samples.size < encoder.shortest_samples:
                needed_s = encoder.shortest_samples / encoder.sample_rate_hz
                raise InputError(f"{path}: {waveform.duration_s:.4f} s is shorter than one frame ({needed_s:.4f} s)")
        yield from zip(group, waveforms, encoder.encode(waveforms), strict=True)
