"""Training of both synthesis models, from a pair manifest, extracted units and codes to finished stages."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path

from polyvoice.errors import InputError
from polyvoice.stages.base import Base
from polyvoice.stages.material import Material
from polyvoice.stages.presets import PRESETS
from polyvoice.stages.running import StagePlan, open_data, prepare_stage, run_stage
from polyvoice.stages.synthesize.accuracy import watch_levels
from polyvoice.stages.synthesize.data import Rates, write_voice_shards
from polyvoice.stages.synthesize.first_level import (
    FirstLevelWriter,
    build_first_level_vocabulary,
    count_first_level_hits,
)
from polyvoice.stages.synthesize.other_levels import (
    CodeSpans,
    LevelObjective,
    OtherLevelsWriter,
    build_other_levels_vocabulary,
    count_other_levels_hits,
)
from polyvoice.stages.synthesize.settings import FirstLevelSettings, OtherLevelsSettings
from unitlm.objective import causal_objective
from unitlm.vocabulary import Vocabulary


def train_first_level(manifest: Path, extracted: Path, out: Path, settings: FirstLevelSettings) -> Path:
    """Train the model of codec level 0, or go on with it; under `torchrun`, call it in every process.

    Args:
        manifest: the pair manifest; its split dev, if any, is held out.
        extracted: the folder of `speechunits extract`, with units and codes.
        out: the run's folder; see `polyvoice.stages.running`. Beside each held-out loss its train/metrics.jsonl holds
            the accuracy of each level on held-out pairs.
        settings: everything else.

    Returns:
        The folder of the finished stage.

    Raises:
        InputError: the data cannot be used, the run was begun with other data or settings, or it was told to stop.
    """
    data, layout, voice, course = (
        open_data(manifest, extracted, with_codes=True),
        settings.layout,
        settings.voice,
        settings.course,
    )
    units, codes = data.units, data.require_codes()

    def write(material: Material, vocabulary: Vocabulary) -> None:
        writer = FirstLevelWriter(vocabulary, material.languages, layout, voice.prompt_units)
        write_voice_shards(
            out,
            material,
            Rates(units.frame_rate_hz, codes.frame_rate_hz),
            voice,
            writer.example,
            partial(writer.example, learn_prompt=False),
            longest=writer.frames(course.sequence_length),
            codebooks=writer.codebooks,
        )

    base = Base.open(course.base, "first_level")
    prepared = prepare_stage(
        out,
        data,
        settings.directions,
        {"sequence_length": course.sequence_length, **asdict(voice), **asdict(layout)},
        lambda directions: build_first_level_vocabulary(directions, units.clusters, codes, layout),
        write,
        base,
    )
    size = PRESETS[settings.preset]["first_level"]
    plan = StagePlan(
        stage="first_level",
        size=size,
        model=settings.model_config(prepared.vocabulary.size, len(prepared.languages)),
        objective=causal_objective,
        shifted=True,
        course=course,
        settings={"preset": settings.preset, "voice": asdict(voice), "layout": asdict(layout)},
        watch=partial(watch_levels, partial(count_first_level_hits, prepared.vocabulary)),
    )
    return run_stage(out, data, prepared, plan, base)


def train_other_levels(manifest: Path, extracted: Path, out: Path, settings: OtherLevelsSettings) -> Path:
    """Train the model of codec levels 1 and up, or go on with it; everything is as in `train_first_level`.

    Raises:
        InputError: also when the codec has no other levels.
    """
    data, voice, course = open_data(manifest, extracted, with_codes=True), settings.voice, settings.course
    units, codes = data.units, data.require_codes()
    if codes.levels < 2:
        raise InputError(f"{extracted}: the codec has one level, so there are no others to learn")

    def write(material: Material, vocabulary: Vocabulary) -> None:
        writer = OtherLevelsWriter(vocabulary, material.languages, voice.prompt_units)
        write_voice_shards(
            out,
            material,
            Rates(units.frame_rate_hz, codes.frame_rate_hz),
            voice,
            writer.example,
            writer.example,
            longest=course.sequence_length,
            codebooks=1 + codes.levels,
        )

    base = Base.open(course.base, "other_levels")
    prepared = prepare_stage(
        out,
        data,
        settings.directions,
        # The noise changes no shard, but a run must not go on with another.
        {"sequence_length": course.sequence_length, "noise": settings.noise, **asdict(voice)},
        lambda _: build_other_levels_vocabulary(units.clusters, codes),
        write,
        base,
    )
    size, spans = PRESETS[settings.preset]["other_levels"], CodeSpans.of(prepared.vocabulary)
    plan = StagePlan(
        stage="other_levels",
        size=size,
        model=settings.model_config(prepared.vocabulary.size, len(prepared.languages), codes.levels),
        objective=LevelObjective(spans, settings.noise),
        shifted=False,
        course=course,
        settings={"preset": settings.preset, "voice": asdict(voice), "noise": settings.noise},
        watch=partial(watch_levels, partial(count_other_levels_hits, spans)),
    )
    return run_stage(out, data, prepared, plan, base)
