"""Define units: cluster the features of audio files, or features that lie in files already."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Literal, TypeAlias
from zipfile import BadZipFile

import numpy as np

from speechunits.audio import Waveform, read_audio
from speechunits.encoders.protocol import SpeechEncoder
from speechunits.errors import InputError
from speechunits.fairseq_kmeans import import_fairseq_kmeans
from speechunits.kmeans import Features, KMeans, Provenance, fit_kmeans, load_kmeans, require_moderate
from speechunits.progress import show_progress

Method: TypeAlias = Literal["full", "mini-batch"]
_FILES_AT_ONCE = 32  # enough to fill batches of similar length, few enough to hold in memory
_FRAMES_PER_BATCH = 10_000  # of mini-batch k-means; fairseq's learn_kmeans.py takes as many
_BATCHES_MIXED = 20


@dataclass(frozen=True, eq=False, slots=True)
class EncodedFile:
    """An audio file and its features `[T, D]`."""

    path: Path
    waveform: Waveform
    features: Features


def load_centroids(path: Path) -> KMeans:
    """Read centroids: our own safetensors, or a published fairseq `km.bin` when the name ends in `.bin`.

    Raises:
        InputError: the file is missing or is neither.
    """
    return import_fairseq_kmeans(path) if path.suffix == ".bin" else load_kmeans(path)


def require_same_encoder(kmeans: KMeans, encoder: SpeechEncoder) -> None:
    """Make sure that centroids belong to an encoder.

    Raises:
        InputError: they were fitted on another encoder or layer, or differ from it in dimension.
    """
    fitted_on = kmeans.provenance.encoder
    # Imported centroids do not say where they come from; only their dimension can be checked.
    if fitted_on and fitted_on != encoder.identity:
        raise InputError(f"the centroids were fitted on {fitted_on}, not on {encoder.identity}")
    if kmeans.centroids.shape[1] != encoder.dimension:
        raise InputError(f"the centroids have {kmeans.centroids.shape[1]} dimensions, the encoder {encoder.dimension}")


def encode_files(paths: Sequence[Path], encoder: SpeechEncoder) -> Iterator[EncodedFile]:
    """Yield the features of each file, in the order given.

    Raises:
        InputError: a file cannot be read or is shorter than one frame.
    """
    with show_progress("encoding", len(paths)) as count:
        for start in range(0, len(paths), _FILES_AT_ONCE):
            group = paths[start : start + _FILES_AT_ONCE]
            waveforms = [read_audio(path, encoder.sample_rate_hz) for path in group]
            for path, waveform in zip(group, waveforms, strict=True):
                if waveform.samples.size < encoder.shortest_samples:
                    needed_s = encoder.shortest_samples / encoder.sample_rate_hz
                    raise InputError(
                        f"{path}: {waveform.duration_s:.4f} s is shorter than one frame ({needed_s:.4f} s)"
                    )
            for path, waveform, features in zip(group, waveforms, encoder.encode(waveforms), strict=True):
                yield EncodedFile(path, waveform, features)
            count(len(group))


def fit_units(
    paths: Sequence[Path],
    encoder: SpeechEncoder,
    clusters: int,
    *,
    seed: int,
    share: float = 1.0,
    method: Method = "full",
) -> KMeans:
    """Cluster the features of audio files into units.

    Args:
        paths: audio files.
        encoder: gives the features.
        clusters: how many units; published settings are 100 for HuBERT-base layer 6, 1,000 for mHuBERT layer 11.
        seed: for the choice of frames and of the first centroids.
        share: part of the frames that is used, drawn at random; features of an hour take 0.5 GB at 768 dimensions.
        method: `full` clusters all frames at once, `mini-batch` goes through them once and keeps 200,000 in memory.

    Raises:
        InputError: `share` is not in (0, 1], a file cannot be read or is shorter than one frame, or there are fewer
            frames than clusters.
    """
    chunks = (file.features for file in encode_files(paths, encoder))
    return _fit(chunks, clusters, encoder.identity, encoder.frame_rate_hz, seed=seed, share=share, method=method)


def fit_feature_files(
    paths: Sequence[Path],
    clusters: int,
    *,
    seed: int,
    share: float = 1.0,
    method: Method = "full",
    encoder: str = "",
    frame_rate_hz: float = 0.0,
) -> KMeans:
    """Cluster features that lie in files, such as those of fairseq's dump_hubert_feature.py.

    Args:
        paths: `.npy` files of float32 or float16 `[T, D]`; they are read piece by piece.
        clusters: see `fit_units`, as for `seed`, `share` and `method`.
        seed: see above.
        share: see above.
        method: see above.
        encoder: identity of the encoder, if it is known; centroids that do not know it fit any of their dimension.
        frame_rate_hz: features per second, if it is known.

    Raises:
        InputError: as `fit_units`, or a file is not such an array, or differs from the first in dimension.
    """
    chunks = _read_features(paths)
    return _fit(chunks, clusters, encoder, frame_rate_hz, seed=seed, share=share, method=method)


def _fit(
    chunks: Iterable[Features],
    clusters: int,
    encoder: str,
    frame_rate_hz: float,
    *,
    seed: int,
    share: float,
    method: Method,
) -> KMeans:
    if not 0 < share <= 1:
        raise InputError(f"the share of frames must lie above 0 and at most at 1, not at {share:g}")
    generator = np.random.default_rng(seed)
    kept = (chunk if share == 1 else chunk[generator.random(len(chunk)) < share] for chunk in chunks)
    if method == "mini-batch":
        return _fit_batches(kept, clusters, encoder, frame_rate_hz, seed)
    parts = list(kept)
    frames = sum(map(len, parts))
    if frames < max(clusters, 1):
        raise InputError(f"{clusters} clusters cannot be made from {frames} frames")
    return fit_kmeans(np.concatenate(parts), clusters, seed=seed, encoder=encoder, frame_rate_hz=frame_rate_hz)


def _fit_batches(chunks: Iterable[Features], clusters: int, encoder: str, frame_rate_hz: float, seed: int) -> KMeans:
    """Mini-batch k-means (Sculley 2010) by scikit-learn, one pass; the first batch also gives the first centroids."""
    import sklearn
    from sklearn.cluster import MiniBatchKMeans

    if clusters < 1:
        raise InputError(f"{clusters} clusters cannot be made")
    model = MiniBatchKMeans(clusters, random_state=seed, n_init=1, compute_labels=False)
    generator = np.random.default_rng(seed)
    frames = 0
    for mixed in _mix(chunks, generator, _BATCHES_MIXED * max(_FRAMES_PER_BATCH, clusters)):
        # Few frames at the end would move a centroid by chance, unless there are no others.
        if frames and len(mixed) < clusters:
            break
        if len(mixed) < clusters:
            raise InputError(f"{clusters} clusters cannot be made from {len(mixed)} frames")
        size = max(_FRAMES_PER_BATCH, clusters)
        for start in range(0, len(mixed), size):
            batch = mixed[start : start + size]
            if len(batch) >= clusters:
                model.partial_fit(batch)
                frames += len(batch)
    if not frames:
        raise InputError(f"{clusters} clusters cannot be made from 0 frames")
    made_by = f"speechunits, scikit-learn {sklearn.__version__} mini-batch"
    centroids = np.ascontiguousarray(model.cluster_centers_, dtype=np.float32)
    return KMeans(centroids, Provenance(encoder, frame_rate_hz, frames, seed, made_by))


def _mix(chunks: Iterable[Features], generator: np.random.Generator, frames: int) -> Iterator[Features]:
    """Yield shuffled frames of many chunks together: neighbours in time are alike and would make a poor batch."""
    held: list[Features] = []
    for chunk in chunks:
        held.append(chunk)
        if sum(map(len, held)) >= frames:
            yield generator.permutation(np.concatenate(held))
            held = []
    if held:
        yield generator.permutation(np.concatenate(held))


def _read_features(paths: Sequence[Path]) -> Iterator[Features]:
    dimension = None
    for path in paths:
        try:
            stored = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError, SyntaxError, BadZipFile, TokenError) as error:
            raise InputError(f"{path}: cannot be read as a .npy array: {error}") from error
        if not isinstance(stored, np.ndarray) or stored.ndim != 2 or stored.dtype not in (np.float32, np.float16):
            raise InputError(f"{path}: is not an array of float32 or float16 [T, D]")
        dimension = stored.shape[1] if dimension is None else dimension
        if stored.shape[1] != dimension:
            raise InputError(f"{path}: has {stored.shape[1]} dimensions, the first file {dimension}")
        for start in range(0, len(stored), _FRAMES_PER_BATCH):
            chunk = np.array(stored[start : start + _FRAMES_PER_BATCH], dtype=np.float32)
            if not np.isfinite(chunk).all():
                raise InputError(f"{path}: holds NaN or infinity between rows {start} and {start + len(chunk) - 1}")
            try:
                require_moderate(chunk)
            except InputError as error:
                raise InputError(f"{path}: {error}") from error
            yield chunk
