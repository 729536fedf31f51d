"""An open bundle: each part is read when it is first asked for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from polyvoice.bundle.manifest import FILE, BundleManifest, read_manifest, resolve_inside
from polyvoice.digests import digest_files
from polyvoice.errors import InputError
from polyvoice.stages.duration.decoding import DurationModel
from polyvoice.stages.duration.means import MeanDurations
from polyvoice.stages.synthesize.synthesizer import Synthesizer
from polyvoice.stages.translate.decoding import UnitTranslator
from speechunits.codecs.load import load_codec
from speechunits.codecs.protocol import Codec, told_of
from speechunits.encoders.load import load_encoder
from speechunits.encoders.protocol import SpeechEncoder
from speechunits.extracted import UnitsInfo
from speechunits.kmeans import KMeans, load_kmeans


@dataclass(frozen=True, eq=False)
class Bundle:
    """Everything that a translation needs.

    Attributes:
        folder: where it lies.
        device: torch device of its models.
        manifest: what it is.
    """

    folder: Path
    device: str
    manifest: BundleManifest

    @classmethod
    def open(cls, folder: Path, device: str = "cpu") -> Bundle:
        """Read `bundle.json` alone; errors as for `polyvoice.bundle.manifest.read_manifest`."""
        return cls(folder, device, read_manifest(folder))

    @cached_property
    def digest(self) -> str:
        """Names the bundle by its manifest and all parts that this lists: 16 hex digits of SHA-256."""
        manifest = self.manifest
        inside = [manifest.encoder.path, manifest.kmeans, manifest.codec.path]
        inside += [part.path for part in manifest.stages.values()]
        parts = [resolve_inside(self.folder, path) for path in inside if path is not None]
        digests = [digest_files(path) for path in (self.folder / FILE, *parts)]
        return hashlib.sha256(" ".join(digests).encode()).hexdigest()[:16]

    @cached_property
    def encoder(self) -> SpeechEncoder:
        """Speech to features.

        Raises:
            InputError: it is not the one whose units the stages were trained on.
            speechunits.errors.InputError: it cannot be read.
        """
        part = self.manifest.encoder
        encoder = load_encoder(str(resolve_inside(self.folder, part.path)), part.layer, self.device)
        require_same(f"{self.folder}: the encoder", encoder.identity, self.manifest.units.encoder)
        return encoder

    @cached_property
    def kmeans(self) -> KMeans:
        """Features to units; errors as for `encoder`."""
        kmeans = load_kmeans(resolve_inside(self.folder, self.manifest.kmeans))
        require_same(f"{self.folder}: the k-means", kmeans.identity, self.manifest.units.kmeans)
        return kmeans

    @cached_property
    def codec(self) -> Codec:
        """Codes to speech and back; errors as for `encoder`."""
        codec = load_codec(name_codec(self.folder, self.manifest), self.device)
        require_same(f"{self.folder}: the codec", codec.identity, self.manifest.codes.codec)
        require_told(f"{self.folder}: the codec", codec, self.manifest.units)
        return codec

    @cached_property
    def translator(self) -> UnitTranslator:
        """Source units to target units; errors as for `UnitTranslator.load`."""
        return UnitTranslator.load(self._stage("translate"), self.device)

    @cached_property
    def duration(self) -> DurationModel:
        """Units to run lengths; errors as for `DurationModel.load`."""
        return DurationModel.load(self._stage("duration"), self.device)

    @cached_property
    def mean_durations(self) -> MeanDurations:
        """What stands in for the duration model in an ablation."""
        return MeanDurations.load(self._stage("duration"))

    @cached_property
    def synthesizer(self) -> Synthesizer:
        """Units to codes of all levels; errors as for `Synthesizer.load`."""
        others = self._stage("other_levels") if "other_levels" in self.manifest.stages else None
        return Synthesizer.load(self._stage("first_level"), others, self.device)

    @cached_property
    def first_level_synthesizer(self) -> Synthesizer:
        """Units to codes of level 0; errors as for `Synthesizer.load`."""
        return Synthesizer.load(self._stage("first_level"), None, self.device)

    def _stage(self, stage: str) -> Path:
        [part] = [part for name, part in self.manifest.stages.items() if name == stage]
        return resolve_inside(self.folder, part.path)


def name_codec(folder: Path, manifest: BundleManifest) -> str:
    """What `speechunits.codecs.load.load_codec` calls the codec of a bundle."""
    name, inside = manifest.codec.name, manifest.codec.path
    where = [] if inside is None else [str(resolve_inside(folder, inside))]
    parts = where if name is None else [name, *where]
    if not parts:
        raise InputError(f"{folder}: the bundle names no codec")
    levels = manifest.codec.levels
    return ":".join(parts) + ("" if levels is None else f"@{levels}")


def require_told(what: str, codec: Codec, units: UnitsInfo) -> None:
    """Raise InputError, in one line, if a codec's decoder has learned to be told units, but not these."""
    told = told_of(codec)
    if told is not None:
        require_same(f"{what}'s decoder is told units that are not its stages': it", told, units)


def require_same(what: str, found: object, expected: object) -> None:
    """Raise InputError, in one line, unless both are equal."""
    if found != expected:
        raise InputError(f"{what} is {found}, but the stages were trained with {expected}")
