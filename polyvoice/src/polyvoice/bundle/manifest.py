"""`bundle.json`: what a bundle is, and where its parts lie in it.

Paths in it are relative and stay inside the folder: a bundle comes from elsewhere, and must not name files of the
machine it is opened on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, cast

from polyvoice.errors import InputError
from polyvoice.stages.stage_folder import TrainedOn, parse_count
from polyvoice.tasks import Direction, languages_of, parse_directions
from speechunits.extracted import CodesInfo, UnitsInfo
from unitlm.files import Json, read_json, write_json
from unitlm.settings import parse_settings

if TYPE_CHECKING:
    from polyvoice.stages.presets import StageName

FILE = "bundle.json"
FORMAT = "polyvoice.bundle"
VERSION = 1
REQUIRED: tuple[StageName, ...] = ("translate", "duration", "first_level")
OPTIONAL: tuple[StageName, ...] = ("other_levels",)

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class EncoderPart:
    """Where the speech encoder lies.

    Attributes:
        path: a fairseq checkpoint, or a folder of transformers or Whisper.
        layer: whose features are clustered, counted from 1.
    """

    path: str
    layer: int


@dataclass(frozen=True)
class CodecPart:
    """Where the codec lies.

    Attributes:
        name: a published codec such as `encodec-24khz`; None for one of our own.
        path: its weights, or the folder of one of our own; None for published weights, which are fetched.
        levels: how many levels of one of our own are used; None for all.
    """

    name: str | None
    path: str | None
    levels: int | None = None


@dataclass(frozen=True)
class StagePart:
    """A finished stage.

    Attributes:
        path: its folder.
        parameters: of its model.
        trained_on: what it learned from.
    """

    path: str
    parameters: int
    trained_on: TrainedOn


@dataclass(frozen=True)
class BundleManifest:
    """What a bundle is.

    Attributes:
        name: what its maker calls it.
        directions: what it translates.
        units: what its units are.
        codes: what its codes are.
        encoder: speech to features.
        kmeans: path of the centroids.
        codec: codes to speech, and speech to codes.
        stages: the models between them.
        scores: what an evaluation of it found; empty when there was none.
        chained: directions that it translates better by way of text than directly.
    """

    name: str
    directions: tuple[Direction, ...]
    units: UnitsInfo
    codes: CodesInfo
    encoder: EncoderPart
    kmeans: str
    codec: CodecPart
    stages: Mapping[StageName, StagePart]
    scores: Mapping[str, Json]
    chained: tuple[Direction, ...] = ()

    @property
    def languages(self) -> tuple[str, ...]:
        """All languages, in order of appearance."""
        return languages_of(self.directions)

    def choose_route(self, source: str, target: str) -> Literal["direct", "chain"]:
        """The route that its maker chose for two of its languages."""
        return "chain" if Direction(source, target) in self.chained else "direct"


def write_manifest(folder: Path, manifest: BundleManifest) -> None:
    """Write `bundle.json`, atomically."""
    values = asdict(manifest)
    values |= {name: [str(way) for way in getattr(manifest, name)] for name in ("directions", "chained")}
    write_json(folder / FILE, {"format": FORMAT, "version": VERSION, "languages": manifest.languages, **values})


def read_manifest(folder: Path) -> BundleManifest:
    """Read and check `bundle.json`, and that every path in it stays inside the folder.

    Raises:
        InputError: it is missing, of another format or a newer version, malformed, or names a path outside.
        unitlm.errors.InputError: it is not JSON, or a key is unknown or missing.
    """
    path = folder / FILE
    if not path.is_file():
        raise InputError(f"{folder}: not a bundle (no {FILE})")
    values = read_json(path)
    if values.get("format") != FORMAT:
        raise InputError(f"{path}: not of format {FORMAT}")
    if values.get("version") != VERSION:
        raise InputError(f"{path}: version {values.get('version')!r}, this program reads version {VERSION}")

    def parse(kind: type[Kind], value: Json, name: str) -> Kind:
        return parse_settings(kind, _mapping(value, f"{path}: {name}"), f"{path}: {name}")

    def parse_stage(name: str, value: Json) -> StagePart:
        about = dict(_mapping(value, f"{path}: {name}"))
        trained_on = parse(TrainedOn, about.pop("trained_on"), f"{name}.trained_on")
        return StagePart(str(about["path"]), parse_count(about["parameters"], f"{path}: {name}.parameters"), trained_on)

    try:
        stages = _mapping(values["stages"], f"{path}: stages")
        for name in stages:
            if name not in REQUIRED + OPTIONAL:
                raise InputError(f"{path}: unknown stage {name!r}")
        for name in REQUIRED:
            if name not in stages:
                raise InputError(f"{path}: stage {name!r} is missing")
        manifest = BundleManifest(
            name=str(values["name"]),
            directions=parse_directions(cast("list[Json]", values["directions"]), str(path)),
            units=parse(UnitsInfo, values["units"], "units"),
            codes=parse(CodesInfo, values["codes"], "codes"),
            encoder=parse(EncoderPart, values["encoder"], "encoder"),
            kmeans=str(values["kmeans"]),
            codec=parse(CodecPart, values["codec"], "codec"),
            stages={cast("StageName", name): parse_stage(name, value) for name, value in stages.items()},
            scores=_mapping(values["scores"], f"{path}: scores"),
            chained=parse_directions(cast("list[Json]", values.get("chained", [])), str(path)),
        )
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: malformed ({type(error).__name__}: {error})") from error
    for inside in (manifest.encoder.path, manifest.kmeans, *(part.path for part in manifest.stages.values())):
        resolve_inside(folder, inside)
    if manifest.codec.path is not None:
        resolve_inside(folder, manifest.codec.path)
    return manifest


def resolve_inside(folder: Path, inside: str) -> Path:
    """The absolute path of a part.

    Raises:
        InputError: the part lies outside of the folder, also by way of a link, or is not there.
    """
    root = folder.resolve()
    path = (root / inside).resolve()
    if not inside or path == root or not path.is_relative_to(root):
        raise InputError(f"{folder / FILE}: the path {inside!r} leads out of the bundle")
    if not path.exists():
        raise InputError(f"{folder}: incomplete, {inside} is missing")
    return path


def _mapping(value: Json, where: str) -> Mapping[str, Json]:
    if not isinstance(value, Mapping):
        raise InputError(f"{where} must be an object, found {value!r}")
    return value
