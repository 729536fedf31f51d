"""Packing finished stages, an encoder, centroids and a codec into a bundle, once it is sure that they fit together."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import torch

from polyvoice.bundle.card import draw_curves, write_card
from polyvoice.bundle.loading import require_same, require_told
from polyvoice.bundle.manifest import BundleManifest, CodecPart, EncoderPart, StagePart, write_manifest
from polyvoice.corpus.tables import read_text
from polyvoice.errors import InputError
from polyvoice.stages.duration.means import MeanDurations
from polyvoice.stages.stage_folder import FILE, VOCABULARY, StageCard, read_stage, write_stage
from polyvoice.stages.translate.memory import FILE as MEMORY
from polyvoice.tasks import Direction, languages_of, parse_directions, translate_speech_by_text
from polyvoice.units import load_centroids
from speechunits.codecs.load import load_codec, split_levels
from speechunits.codecs.protocol import told_of
from speechunits.encoders.load import load_encoder
from speechunits.extracted import CodesInfo
from speechunits.kmeans import save_kmeans
from unitlm.checkpoint import load_model
from unitlm.files import read_json
from unitlm.metrics import read_metrics
from unitlm.vocabulary import Vocabulary

if TYPE_CHECKING:
    from polyvoice.stages.presets import StageName

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Parts:
    """What goes into a bundle.

    Attributes:
        encoder: fairseq checkpoint, or folder of transformers or Whisper.
        layer: whose features are clustered, counted from 1.
        kmeans: centroids: our own file, or a published fairseq `km.bin`.
        codec: as `speechunits.codecs.load.load_codec` names it: a folder of our own, or `encodec-24khz`.
        translate: run of `polyvoice train translate`, or its folder model/; the other stages likewise.
        duration: the duration model.
        first_level: the synthesiser's first level.
        other_levels: the other levels; None for a codec of one level, or whose decoder is told what it says.
        scores: `scores.json` of an evaluation; None when there was none.
        about: text in Markdown for the card, such as data, licences and limits; None for none.
        chained: directions, such as `zh-en`, that are translated by way of text unless the user wants otherwise.
    """

    encoder: Path
    layer: int
    kmeans: Path
    codec: str
    translate: Path
    duration: Path
    first_level: Path
    other_levels: Path | None = None
    scores: Path | None = None
    about: Path | None = None
    chained: tuple[str, ...] = ()

    @property
    def stages(self) -> dict[StageName, Path]:
        """The stages' folders, by name."""
        runs: dict[StageName, Path | None] = {
            "translate": self.translate,
            "duration": self.duration,
            "first_level": self.first_level,
            "other_levels": self.other_levels,
        }
        return {name: _stage_folder(run) for name, run in runs.items() if run is not None}


def pack_bundle(parts: Parts, out: Path, *, name: str, precision: Precision = "bf16") -> BundleManifest:
    """Check that parts fit together, and pack them.

    Args:
        parts: what to pack; files are copied.
        out: the bundle's folder, which is not there yet; it appears when it is complete.
        name: what the bundle is called.
        precision: how weights of the stages are stored; bf16 halves them.

    Returns:
        What the bundle is.

    Raises:
        InputError: `out` is there already, or two parts do not fit together.
        speechunits.errors.InputError: encoder, centroids or codec cannot be read.
        unitlm.errors.InputError: a stage cannot be read.
    """
    if out.exists():
        raise InputError(f"{out}: is there already; remove it, or write elsewhere")
    cards = {stage: read_stage(folder, stage) for stage, folder in parts.stages.items()}
    codes = check_stages(cards)
    chained = _check_chained(parts.chained, cards["translate"])
    units = cards["translate"].units
    kmeans = load_centroids(parts.kmeans)
    require_same(f"{parts.kmeans}: the k-means", kmeans.identity, units.kmeans)
    if not parts.encoder.exists():
        raise InputError(f"{parts.encoder}: no such encoder")
    encoder = load_encoder(str(parts.encoder), parts.layer)
    require_same(f"{parts.encoder}: the encoder", encoder.identity, units.encoder)
    require_same(f"{parts.encoder}: the frame rate", encoder.frame_rate_hz, units.frame_rate_hz)
    codec = load_codec(parts.codec)
    found = CodesInfo(codec.identity, codec.levels, codec.codebook_size, codec.frame_rate_hz)
    require_same(f"{parts.codec}: the codec", found, codes)
    require_told(f"{parts.codec}: the codec", codec, units)
    if codes.levels > 1 and "other_levels" not in cards and told_of(codec) is None:
        raise InputError(f"the codec has {codes.levels} levels, but there is no stage other_levels")
    scores = {} if parts.scores is None else read_json(parts.scores)
    about = "" if parts.about is None else read_text(parts.about)

    with _appearing(out) as folder:
        encoder_path = _copy(parts.encoder, folder / f"encoder{parts.encoder.suffix}")
        save_kmeans(kmeans, folder / "kmeans.safetensors")
        for stage, source in parts.stages.items():
            _pack_stage(source, folder / stage, cards[stage], precision)
        manifest = BundleManifest(
            name=name,
            directions=cards["translate"].directions,
            units=units,
            codes=codes,
            encoder=EncoderPart(encoder_path.name, parts.layer),
            kmeans="kmeans.safetensors",
            codec=_pack_codec(parts.codec, folder),
            stages={stage: StagePart(stage, card.parameters, card.trained_on) for stage, card in cards.items()},
            scores=scores,
            chained=chained,
        )
        curves = {stage: read_metrics(source.parent / "train") for stage, source in parts.stages.items()}
        drawn = draw_curves({stage: rows for stage, rows in curves.items() if rows}, folder / "curves.svg")
        write_card(folder, manifest, part_sizes(folder), with_curves=drawn, about=about)
        write_manifest(folder, manifest)
    return manifest


def check_stages(cards: Mapping[StageName, StageCard]) -> CodesInfo:
    """Check that stages were trained on the same units and codes, and know the same languages.

    Returns:
        What their codes are.

    Raises:
        InputError: two of them do not fit together; one line says which and why.
    """
    translate, codes = cards["translate"], cards["first_level"].codes
    if codes is None:
        raise InputError("first_level: its stage.json does not say what its codes are")
    languages = languages_of(translate.directions)
    for stage, card in cards.items():
        for field in ("encoder", "kmeans", "clusters", "frame_rate_hz"):
            mine, others = getattr(card.units, field), getattr(translate.units, field)
            if mine != others:
                raise InputError(f"{stage}: its units have {field} {mine}, those of translate {others}")
        if card.codes is not None and card.codes != codes:
            raise InputError(f"{stage}: its codes are of {card.codes}, those of first_level of {codes}")
        for language in languages:
            if language not in languages_of(card.directions):
                raise InputError(f"{stage}: does not know {language!r}, which translate does")
    return codes


def _check_chained(chained: Sequence[str], translate: StageCard) -> tuple[Direction, ...]:
    ways = parse_directions(chained, "chain")
    learned = translate.settings.get("tasks", ())
    for way in ways:
        if way not in translate.directions:
            raise InputError(f"chain: {way} is not one of {', '.join(map(str, translate.directions))}")
        if translate_speech_by_text(way.source, way.target).line not in cast("Sequence[str]", learned):
            raise InputError(f"chain: the translation model has not learned to go from {way} by way of text")
    return ways


def part_sizes(folder: Path) -> dict[str, int]:
    """Bytes of each file or folder in a bundle."""
    return {
        path.name: sum(
            file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()
        )
        for path in sorted(folder.iterdir())
    }


def _stage_folder(run: Path) -> Path:
    return run if (run / FILE).is_file() else run / "model"


def _pack_stage(source: Path, target: Path, card: StageCard, precision: Precision) -> None:
    model = load_model(source)
    if precision == "bf16":
        model = model.to(torch.bfloat16)
    if card.stage == "duration":
        target.mkdir()
        MeanDurations.load(source).save(target)
    memory = [source / MEMORY] if (source / MEMORY).exists() else []
    write_stage(target, model, Vocabulary.load(source / VOCABULARY), card, memory)


def _pack_codec(where: str, folder: Path) -> CodecPart:
    own, levels = split_levels(where)
    if own.is_dir():
        return CodecPart(None, _copy(own, folder / "codec").name, levels)
    name, colon, weights = where.partition(":")
    if not colon:
        return CodecPart(name, None)
    return CodecPart(name, _copy(Path(weights), folder / f"codec{Path(weights).suffix}").name)


def _copy(source: Path, target: Path) -> Path:
    """Copy a file or a folder; links are followed, so that the bundle holds all of it."""
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)
    return target


@contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """A folder to fill, that takes its name when it is full and is removed when something fails."""
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = out.with_name(f".{out.name}.packing")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
        folder.rename(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
