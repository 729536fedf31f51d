"""What is compared: a TOML file. Paths in it are relative to its folder; those in lists of options stay as they are.

    manifest = "pairs.tsv"
    extracted = "extracted"
    test = "test.tsv"
    evaluate = ["--skip=dnsmos"]

    [parts]
    encoder = "hubert.pt"
    layer = 6
    kmeans = "units.safetensors"
    codec = "runs/codec/codec"
    duration = "runs/duration"

    [common]
    translate = ["--preset", "small", "--steps", "20000"]
    first_level = ["--preset", "small", "--steps", "20000"]
    other_levels = ["--preset", "small", "--steps", "20000"]

    [[variants]]
    name = "all"

    [[variants]]
    name = "chain"
    pipeline = ["--route", "chain"]

    [[variants]]
    name = "no duration LM"
    pipeline = ["--durations", "mean"]

    [[variants]]
    name = "without text tasks"
    train.translate = ["--text", "none"]

    [[variants]]
    name = "prefix LM"
    train.translate = ["--prefix-lm"]

    [[variants]]
    name = "no source units in the voice prompt"
    train.first_level = ["--no-prompt-units"]
    train.other_levels = ["--no-prompt-units"]

Where a plan has parts, each variant becomes a bundle that translates the test manifest: of every stage the variant's
own training, else the finished stage among the parts, else a training with the common options. Without parts only what
a variant trains is compared. A variant may also name a finished `bundle`, or `outputs`: speech that some other system
has made.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TypeVar, cast

from polyvoice.errors import InputError
from unitlm.settings import parse_settings

Table = TypeVar("Table")


@dataclass(frozen=True)
class StageOptions:
    """Options of `polyvoice train`, by stage; None where a stage is not trained.

    Attributes:
        translate: of the translation model.
        duration: of the duration model.
        first_level: of the synthesiser's first level.
        other_levels: of its other levels.
    """

    translate: tuple[str, ...] | None = None
    duration: tuple[str, ...] | None = None
    first_level: tuple[str, ...] | None = None
    other_levels: tuple[str, ...] | None = None

    def of(self, stage: str) -> tuple[str, ...] | None:
        """The options of one stage."""
        return cast("tuple[str, ...] | None", getattr(self, stage))


STAGES = tuple(one.name for one in fields(StageOptions))


@dataclass(frozen=True)
class PlanParts:
    """What goes into a bundle beside the stages that are trained; named as in `polyvoice bundle`.

    Attributes:
        encoder: fairseq checkpoint, or folder of transformers or Whisper.
        layer: whose features are clustered.
        kmeans: centroids.
        codec: folder of our own, or `encodec-24khz`.
        translate: run of a finished stage, as are those below; empty where the stage is trained.
        duration: duration model.
        first_level: first level of the synthesiser.
        other_levels: its other levels.

    Raises:
        InputError: encoder, layer, kmeans or codec is missing.
    """

    encoder: str
    layer: int
    kmeans: str
    codec: str
    translate: str = ""
    duration: str = ""
    first_level: str = ""
    other_levels: str = ""

    def stage(self, name: str) -> str:
        """Where a finished stage lies; empty when it is trained."""
        return cast("str", getattr(self, name))


@dataclass(frozen=True)
class Variant:
    """One row of the table.

    Attributes:
        name: what it is called.
        train: which stages it trains itself, with which options beside the common ones.
        bundle: a finished bundle to judge; empty when there is none.
        outputs: folder of another system's speech to judge; empty when there is none.
        pipeline: options of `polyvoice evaluate` that say how a bundle translates, such as --route chain.
        test: pair manifest to translate; the plan's when empty.

    Raises:
        InputError: several systems are named, or a pipeline is set for speech that is there already.
    """

    name: str
    train: StageOptions = field(default_factory=StageOptions)
    bundle: str = ""
    outputs: str = ""
    pipeline: tuple[str, ...] = ()
    test: str = ""

    def __post_init__(self) -> None:
        if self.bundle and self.outputs:
            raise InputError(f"variant {self.name!r}: has a bundle and outputs; give one of them")
        if self.outputs and self.pipeline:
            raise InputError(f"variant {self.name!r}: outputs are spoken already; a pipeline is for bundles")


@dataclass(frozen=True)
class Plan:
    """What is compared.

    Attributes:
        folder: where paths start from.
        variants: the rows.
        manifest: pair manifest of all trainings.
        extracted: its extracted folder.
        test: pair manifest that is translated.
        parts: what bundles are packed from; None where no variant is packed.
        common: options of every training of a stage.
        evaluate: options of every `polyvoice evaluate`.

    Raises:
        InputError: names are not unique, or a variant has nothing to do or nothing to translate.
    """

    folder: Path
    variants: tuple[Variant, ...]
    manifest: str = ""
    extracted: str = ""
    test: str = ""
    parts: PlanParts | None = None
    common: StageOptions = field(default_factory=StageOptions)
    evaluate: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [variant.name for variant in self.variants]
        if not names or len(set(names)) < len(names):
            raise InputError("needs variants, each with a name of its own")
        for variant in self.variants:
            spoken = self.is_spoken(variant)
            if not spoken and variant.train == StageOptions():
                raise InputError(f"variant {variant.name!r}: nothing to train, no parts, bundle or outputs to judge")
            if not spoken and variant.pipeline:
                raise InputError(f"variant {variant.name!r}: a pipeline needs parts, or a bundle")
            if spoken and not (variant.test or self.test):
                raise InputError(f"variant {variant.name!r}: there is no test to translate")

    def is_spoken(self, variant: Variant) -> bool:
        """Whether there is speech to judge."""
        return bool(variant.bundle or variant.outputs or self.parts)

    def is_packed(self, variant: Variant) -> bool:
        """Whether a bundle is made for it."""
        return self.parts is not None and not (variant.bundle or variant.outputs)


def read_plan(path: Path) -> Plan:
    """Read a plan.

    Raises:
        InputError: it cannot be read, or is not as described above.
        unitlm.errors.InputError: a key is unknown, missing or of another type.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # broken TOML, or broken UTF-8
        raise InputError(f"{path}: not TOML ({error})") from error
    tables = values.pop("variants", [])
    if not isinstance(tables, list):
        raise InputError(f"{path}: variants are written as [[variants]]")
    variants = tuple(_read_variant(value, f"{path}: variant {place}") for place, value in enumerate(tables, start=1))
    common = _read(StageOptions, values.pop("common", {}), f"{path}: common")
    parts = _read(PlanParts, values.pop("parts"), f"{path}: parts") if "parts" in values else None
    flat = parse_settings(_Flat, values, str(path))
    try:
        return Plan(path.parent, variants, flat.manifest, flat.extracted, flat.test, parts, common, flat.evaluate)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


@dataclass(frozen=True)
class _Flat:
    """The keys of a plan that are no tables."""

    manifest: str = ""
    extracted: str = ""
    test: str = ""
    evaluate: tuple[str, ...] = ()


@dataclass(frozen=True)
class _FlatVariant:
    """The keys of a variant that are no tables."""

    name: str
    bundle: str = ""
    outputs: str = ""
    pipeline: tuple[str, ...] = ()
    test: str = ""


def _read_variant(value: object, where: str) -> Variant:
    values = dict(_table(value, where))
    train = _read(StageOptions, values.pop("train", {}), f"{where}: train")
    flat = parse_settings(_FlatVariant, values, where)
    return Variant(flat.name, train, flat.bundle, flat.outputs, flat.pipeline, flat.test)


def _read(kind: type[Table], value: object, where: str) -> Table:
    return parse_settings(kind, _table(value, where), where)


def _table(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise InputError(f"{where} must be a table, found {value!r}")
    return value
