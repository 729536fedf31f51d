"""Training of the duration model, from a pair manifest and extracted units to a finished stage."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from polyvoice.stages.base import Base
from polyvoice.stages.duration.data import DurationWriter, build_vocabulary, iterate_runs, write_duration_shards
from polyvoice.stages.duration.means import FILE as MEANS
from polyvoice.stages.duration.means import MeanDurations
from polyvoice.stages.duration.settings import DurationSettings
from polyvoice.stages.material import Material
from polyvoice.stages.presets import PRESETS
from polyvoice.stages.running import StagePlan, open_data, prepare_stage, run_stage
from unitlm.objective import causal_objective
from unitlm.vocabulary import Vocabulary


def train_duration(manifest: Path, extracted: Path, out: Path, settings: DurationSettings) -> Path:
    """Train the duration model, or go on with it; under `torchrun`, call it in every process.

    Args:
        manifest: the pair manifest; its split dev, if any, is held out.
        extracted: the folder of `speechunits extract`, with units.
        out: the run's folder; see `polyvoice.stages.running`.
        settings: everything else.

    Returns:
        The folder of the finished stage, in which `mean_durations.json` lies beside the model.

    Raises:
        InputError: the data cannot be used, the run was begun with other data or settings, or it was told to stop.
    """
    data, layout, course = open_data(manifest, extracted, with_codes=False), settings.layout, settings.course

    def write(material: Material, vocabulary: Vocabulary) -> None:
        writer = DurationWriter(vocabulary, material.languages, layout)
        longest = course.sequence_length + 1  # the last id is a target only
        write_duration_shards(out, material, writer, longest=longest)
        MeanDurations.fit(iterate_runs(material.pairs), data.units.clusters).save(out)

    base = Base.open(course.base, "duration")
    prepared = prepare_stage(
        out,
        data,
        settings.directions,
        {"sequence_length": course.sequence_length, **asdict(layout)},
        lambda directions: build_vocabulary(directions, data.units.clusters, layout),
        write,
        base,
    )
    size = PRESETS[settings.preset]["duration"]
    plan = StagePlan(
        stage="duration",
        size=size,
        model=settings.model_config(prepared.vocabulary.size, len(prepared.languages)),
        objective=causal_objective,
        shifted=True,
        course=course,
        settings={"preset": settings.preset, "layout": asdict(layout)},
        files=(MEANS,),
    )
    return run_stage(out, data, prepared, plan, base)
