"""k-means over encoder features: fit by faiss, apply by one matrix product, keep as a plain array.

The centroids are a safetensors file with a JSON header that says which encoder they belong to, because units are
meaningless when features come from another layer or another checkpoint.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from speechunits.errors import InputError
from speechunits.files import write_atomically
from speechunits.runs import Units

Features: TypeAlias = npt.NDArray[np.float32]

_FORMAT = "speechunits.kmeans.1"
_LARGEST = 4e18  # of a vector: the squared distance of two such still fits into float32
_FRAMES_PER_PRODUCT = 16_384  # bounds the score matrix: 16,384 x 1,000 float32 are 66 MB


@dataclass(frozen=True)
class Provenance:
    """Where centroids come from.

    Attributes:
        encoder: `SpeechEncoder.identity` of the encoder whose features were clustered; empty if unknown.
        frame_rate_hz: features per second; 0 if unknown.
        frames: number of feature vectors that were clustered; 0 if unknown.
        seed: of the fit.
        made_by: program and version.
    """

    encoder: str
    frame_rate_hz: float
    frames: int
    seed: int
    made_by: str


@dataclass(frozen=True, eq=False)
class KMeans:
    """Centroids; the unit of a frame is the index of the nearest one.

    Attributes:
        centroids: `[K, D]`, float32.
        provenance: where they come from.

    Raises:
        InputError: `centroids` is not a finite float32 matrix with at least one row and column.
    """

    centroids: Features
    provenance: Provenance

    def __post_init__(self) -> None:
        _require_features(self.centroids, "centroids")

    @property
    def identity(self) -> str:
        """Names the centroids; equal identities give equal units for equal features."""
        digest = hashlib.sha256(f"{self.centroids.shape}\n".encode() + self.centroids.tobytes())
        return f"sha256:{digest.hexdigest()[:16]}"

    def assign(self, features: Features) -> Units:
        """Return the nearest centroid of each frame, `[T, D]` -> `[T]` int64; ties go to the lower unit.

        Raises:
            InputError: `features` is not finite float32 `[T, D]` with the D of the centroids.
        """
        _require_features(features, "features")
        if features.shape[1] != self.centroids.shape[1]:
            raise InputError(f"features have {features.shape[1]} dimensions, the centroids {self.centroids.shape[1]}")
        # argmin |x - c|^2 = argmax (x.c - |c|^2 / 2): |x|^2 is the same for every centroid.
        half_norms = 0.5 * np.einsum("kd,kd->k", self.centroids, self.centroids)
        units = np.empty(features.shape[0], dtype=np.int64)
        for start in range(0, features.shape[0], _FRAMES_PER_PRODUCT):
            scores = features[start : start + _FRAMES_PER_PRODUCT] @ self.centroids.T - half_norms  # [frames, K]
            units[start : start + _FRAMES_PER_PRODUCT] = scores.argmax(axis=1)
        return units


def fit_kmeans(
    features: Features,
    clusters: int,
    *,
    seed: int,
    encoder: str = "",
    frame_rate_hz: float = 0.0,
    iterations: int = 25,
    restarts: int = 1,
    max_frames_per_cluster: int = 1_000,
) -> KMeans:
    """Cluster features; the same seed gives the same centroids.

    Args:
        features: `[N, D]` float32, finite.
        clusters: K, at most N.
        seed: for the choice of first centroids and of the sample.
        encoder: identity of the encoder, kept in the provenance.
        frame_rate_hz: features per second, kept in the provenance.
        iterations: Lloyd iterations.
        restarts: runs from other first centroids; the one with the least distortion wins.
        max_frames_per_cluster: when N exceeds this times K, a random sample of that size is clustered.

    Raises:
        InputError: the features are not as described, or fewer than `clusters`.
    """
    import faiss  # 0.2 s: not for those who only apply

    _require_features(features, "features")
    require_moderate(features)
    count, dimension = features.shape
    if not 1 <= clusters <= count:
        raise InputError(f"{clusters} clusters cannot be made from {count} frames")
    if min(iterations, restarts, max_frames_per_cluster) < 1:
        raise InputError("iterations, restarts and max_frames_per_cluster must be at least 1")
    clustering = faiss.Kmeans(
        dimension,
        clusters,
        niter=iterations,
        nredo=restarts,
        seed=seed,
        min_points_per_centroid=1,  # below this faiss writes a warning to stderr by itself
        max_points_per_centroid=max_frames_per_cluster,
    )
    clustering.train(np.ascontiguousarray(features))
    centroids = np.array(clustering.centroids, dtype=np.float32)
    made_by = f"speechunits, faiss {faiss.__version__}"
    return KMeans(centroids, Provenance(encoder, frame_rate_hz, count, seed, made_by))


def save_kmeans(kmeans: KMeans, path: Path) -> None:
    """Write centroids and provenance as one safetensors file, atomically.

    Raises:
        InputError: the folder of `path` does not exist.
    """
    from safetensors.numpy import save

    header = {"format": _FORMAT, "provenance": json.dumps(asdict(kmeans.provenance))}
    write_atomically(path, save({"centroids": np.ascontiguousarray(kmeans.centroids)}, metadata=header))


def load_kmeans(path: Path) -> KMeans:
    """Read what `save_kmeans` wrote.

    Raises:
        InputError: the file is missing or is something else.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as stored:
            header = stored.metadata() or {}
            if header.get("format") != _FORMAT or set(stored.keys()) != {"centroids"}:
                raise InputError(f"{path}: not a file of k-means centroids ({_FORMAT})")
            centroids = stored.get_tensor("centroids")
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be read as safetensors: {error}") from error
    try:
        return KMeans(centroids, _parse_provenance(header.get("provenance", "")))
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def _parse_provenance(text: str) -> Provenance:
    """Read the JSON of a header; ValueError when a key is missing, unknown or of the wrong type."""
    values = json.loads(text)
    expected = {field.name: field.type for field in fields(Provenance)}
    if not isinstance(values, dict) or set(values) != set(expected):
        raise InputError(f"the provenance must have exactly the keys {', '.join(expected)}")
    for name, kind in expected.items():
        if not isinstance(values[name], (int, float) if kind is float else kind):  # type: ignore[arg-type]
            raise InputError(f"provenance key {name} is {values[name]!r}")
    return Provenance(**values)


def require_moderate(features: Features) -> None:
    """Raise InputError where vectors are so long that faiss, for an infinite distance, would end the whole process."""
    largest = float(np.abs(features).max())
    if largest > _LARGEST / features.shape[1] ** 0.5:
        raise InputError(f"features: {largest:.3g} is too large to be clustered in float32")


def _require_features(values: Features, name: str) -> None:
    if values.ndim != 2 or values.dtype != np.float32 or 0 in values.shape:
        raise InputError(f"{name} are float32 [T, D] with at least one row, not {values.dtype} {list(values.shape)}")
    finite_rows = np.isfinite(values).all(axis=1)
    if not finite_rows.all():
        raise InputError(f"{name}: row {int(np.argmin(finite_rows))} holds NaN or infinity")
