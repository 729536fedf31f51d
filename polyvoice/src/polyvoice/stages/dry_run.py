"""What the training of a stage would cost, before there is any data: sizes come from the settings and from defaults."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from polyvoice.errors import InputError
from polyvoice.stages.duration.settings import DurationSettings
from polyvoice.stages.presets import PRESETS, Preset, StageName
from polyvoice.stages.synthesize.settings import FirstLevelSettings, OtherLevelsSettings
from polyvoice.stages.translate.settings import CorpusSettings, TranslateSettings
from polyvoice.tasks import TEXT, Direction, build_translation_vocabulary, languages_of
from speechunits.extracted import CodesInfo, UnitsInfo, read_extracted
from unitlm.dry_run import DryRun, Estimate, estimate_run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polyvoice.stages.course import Course
    from unitlm.model import ModelConfig

StageSettings = TranslateSettings | DurationSettings | FirstLevelSettings | OtherLevelsSettings

# Those of the public extractors: mHuBERT's k-means, EnCodec at 6 kbps.
USUAL_UNITS = UnitsInfo(encoder="", kmeans="", clusters=1_000, frame_rate_hz=50.0)
USUAL_CODES = CodesInfo(codec="", levels=8, codebook_size=1_024, frame_rate_hz=75.0)
USUAL_DIRECTIONS = ("zh-en", "en-zh")


def estimate_stage(settings: StageSettings, machines: DryRun, extracted: Path | None = None) -> Estimate:
    """Count what the training of a stage would cost.

    Args:
        settings: The stage's own; without directions, two of one pair of languages are assumed.
        machines: On what.
        extracted: The folder of `speechunits extract`, for units and codes as they are; 1,000 units and EnCodec's 8 x
            1,024 codes when not given.

    Raises:
        InputError: The folder holds no units, or no codes where the stage needs them.
    """
    units, codes = USUAL_UNITS, USUAL_CODES
    if extracted is not None:
        units, codes = _read_sizes(extracted, with_codes=isinstance(settings, FirstLevelSettings | OtherLevelsSettings))
    ways = [Direction.parse(text) for text in settings.directions or USUAL_DIRECTIONS]
    languages = len(languages_of(ways))
    if isinstance(settings, TranslateSettings):
        model = settings.model_config(_count_translation_ids(ways, units.clusters, settings.corpus))
        return _estimate("translate", settings.preset, model, settings.course, machines)
    if isinstance(settings, DurationSettings):
        from polyvoice.stages.duration.data import build_vocabulary

        model = settings.model_config(build_vocabulary(ways, units.clusters, settings.layout).size, languages)
        return _estimate("duration", settings.preset, model, settings.course, machines)
    if isinstance(settings, FirstLevelSettings):
        from polyvoice.stages.synthesize.first_level import build_first_level_vocabulary

        ids = build_first_level_vocabulary(ways, units.clusters, codes, settings.layout).size
        return _estimate(
            "first_level", settings.preset, settings.model_config(ids, languages), settings.course, machines
        )
    from polyvoice.stages.synthesize.other_levels import build_other_levels_vocabulary

    model = settings.model_config(build_other_levels_vocabulary(units.clusters, codes).size, languages, codes.levels)
    return _estimate("other_levels", settings.preset, model, settings.course, machines, scored_ids=codes.codebook_size)


def describe_presets() -> str:
    """A table of all presets: millions of parameters of each stage, with the usual units and codes."""
    stages: Mapping[StageName, type[StageSettings]] = {
        "translate": TranslateSettings,
        "duration": DurationSettings,
        "first_level": FirstLevelSettings,
        "other_levels": OtherLevelsSettings,
    }
    lines = [f"{'preset':<8}" + "".join(f"{stage:>34}" for stage in stages)]
    for preset, sizes in PRESETS.items():
        cells = []
        for stage, settings in stages.items():
            size, total = sizes[stage], estimate_stage(settings(preset=preset), DryRun()).parameters.total
            cells.append(f"{total / 1e6:8.1f} M ({size.layers:>2} layers of {size.width:>5,})")
        lines.append(f"{preset:<8}" + "".join(f"{cell:>34}" for cell in cells))
    units, codes, pieces = USUAL_UNITS, USUAL_CODES, CorpusSettings().pieces
    facts = f"{units.clusters:,} units, {pieces:,} text pieces of each of two languages, a codec of {codes.levels} x"
    return "\n".join([*lines, f"Parameters with {facts} {codes.codebook_size:,}."])


def _estimate(
    stage: StageName,
    preset: Preset,
    model: ModelConfig,
    course: Course,
    machines: DryRun,
    *,
    scored_ids: int | None = None,
) -> Estimate:
    if course.precision == "auto":
        course = replace(course, precision="bf16")  # as on the GPUs that are counted, whatever this machine has
    config = course.train_config(PRESETS[preset][stage].learning_rate, shifted=model.causal)
    return estimate_run(f"{stage} {preset}", model, config, machines, scored_ids=scored_ids)


def _count_translation_ids(ways: list[Direction], clusters: int, corpus: CorpusSettings) -> int:
    """Ids of the translation model, if every language fills its share of text pieces."""
    from unitlm.alphabet import Bytes

    texts = [] if corpus.text == "none" else [Bytes(language + TEXT) for language in languages_of(ways)]
    size = build_translation_vocabulary(ways, clusters, texts).size
    return size + sum(corpus.pieces - text.size for text in texts) if corpus.text == "pieces" else size


def _read_sizes(extracted: Path, *, with_codes: bool) -> tuple[UnitsInfo, CodesInfo]:
    info, _ = read_extracted(extracted)
    if info.units is None or (with_codes and info.codes is None):
        raise InputError(f"{extracted}: holds no {'units' if info.units is None else 'codes'}")
    return info.units, info.codes or USUAL_CODES
