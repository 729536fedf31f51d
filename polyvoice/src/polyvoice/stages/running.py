"""From prepared shards to a finished stage: what the training of all stages shares.

    run/vocabulary.json            alphabets
    run/shards/, run/held_out/     token shards
    run/pairs.json                 how many pairs there were, and in which directions
    run/prepared.json              what these were made from
    run/train/                     checkpoints, metrics.jsonl, TensorBoard
    run/model/                     the result: weights, vocabulary, stage.json

Every step is skipped when its files are there, and training resumes exactly: one command begins a run and goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast

import torch

from polyvoice.errors import InputError
from polyvoice.spoken import load_training_pairs
from polyvoice.stages.base import Base
from polyvoice.stages.course import Course
from polyvoice.stages.directions import find_directions, orient_pairs
from polyvoice.stages.material import Material
from polyvoice.stages.preparation import digest_inputs, prepare_once
from polyvoice.stages.presets import Size, StageName
from polyvoice.stages.stage_folder import VOCABULARY, StageCard, TrainedOn, is_written, read_scores, write_stage
from polyvoice.tasks import Direction, languages_of
from speechunits.extracted import CodesInfo, UnitsInfo, read_extracted
from unitlm.checkpoint import load_model
from unitlm.distributed import join_processes
from unitlm.files import Json, read_json, write_json
from unitlm.metrics import MetricsLog
from unitlm.model import Decoder, ModelConfig
from unitlm.objective import Objective
from unitlm.shards import ShardSet
from unitlm.train import TrainResult, train
from unitlm.vocabulary import Vocabulary

PAIRS = "pairs.json"


@dataclass(frozen=True)
class StageData:
    """What a stage is trained on.

    Attributes:
        manifest: the pair manifest.
        extracted: the folder of `speechunits extract`.
        units: what its units are.
        codes: what its codes are; None where the stage needs none.
        digest: of both.
    """

    manifest: Path
    extracted: Path
    units: UnitsInfo
    codes: CodesInfo | None
    digest: str

    def require_codes(self) -> CodesInfo:
        """What its codes are; InputError when it has none."""
        if self.codes is None:
            raise InputError(f"{self.extracted}: holds no codes; extract them with a codec")
        return self.codes


@dataclass(frozen=True)
class Prepared:
    """What lies in a prepared run folder.

    Attributes:
        vocabulary: the ids of its shards.
        directions: what is learned.
        pairs: how many pairs it was made from.
    """

    vocabulary: Vocabulary
    directions: tuple[Direction, ...]
    pairs: int

    @property
    def languages(self) -> tuple[str, ...]:
        """In the order of their condition ids."""
        return languages_of(self.directions)


@dataclass(frozen=True)
class StagePlan:
    """What is trained, and how.

    Attributes:
        stage: which one.
        size: of its model.
        model: its shape.
        objective: what is minimised.
        shifted: whether a position's target is the next id, or its own.
        course: steps and rates.
        settings: all settings, by group, for `stage.json`.
        watch: figures of the model on the held-out shards, found out beside each held-out loss; for metrics.jsonl.
        score: figures of the finished stage's folder, computed on a device; the last line of metrics.jsonl.
        files: of the run's folder, which belong to the finished stage.
    """

    stage: StageName
    size: Size
    model: ModelConfig
    objective: Objective
    shifted: bool
    course: Course
    settings: Mapping[str, Json]
    watch: Callable[[Decoder, ShardSet], Mapping[str, float]] | None = None
    score: Callable[[Path, str], Mapping[str, float]] | None = None
    files: Sequence[str] = ()


def open_data(manifest: Path, extracted: Path, *, with_codes: bool) -> StageData:
    """Look at what a stage is to be trained on.

    Raises:
        InputError: the folder holds no units.
    """
    info, _ = read_extracted(extracted)
    if info.units is None:
        raise InputError(f"{extracted}: holds no units; extract them with an encoder and a k-means")
    return StageData(
        manifest, extracted, info.units, info.codes if with_codes else None, digest_inputs(manifest, extracted)
    )


def prepare_stage(
    out: Path,
    data: StageData,
    directions: Sequence[str],
    settings: Mapping[str, Json],
    vocabulary: Callable[[Sequence[Direction]], Vocabulary],
    write: Callable[[Material, Vocabulary], None],
    base: Base | None = None,
) -> Prepared:
    """Prepare the run folder `out`, unless it is.

    Args:
        out: the run's folder.
        data: what is learned.
        directions: such as zh-en; those of the manifest and their opposites when there is none.
        settings: all settings that the shards depend on.
        vocabulary: makes the vocabulary.
        write: writes the shards.
        base: what is trained further, whose vocabulary is kept unless it is renewed.

    Raises:
        InputError: the data cannot be used, or not with `base`, or the folder was prepared from other data or settings.
    """
    inputs: dict[str, Json] = {"data": data.digest, "directions": tuple(directions), **settings}
    if base is not None:
        base.check_data(data.units, data.codes)
        inputs["base"] = base.digest
        if base.renewed:
            inputs["renewed"] = True

    def prepare() -> None:
        pairs, held_out = load_training_pairs(data.manifest, data.extracted, with_codes=data.codes is not None)
        ways = find_directions(pairs, directions)
        if base is not None:
            base.check_languages(ways)
        ids = vocabulary(ways) if base is None or base.renewed else base.vocabulary
        material = Material(
            orient_pairs(pairs, ways), orient_pairs(held_out, ways), languages_of(ways), repr(sorted(inputs.items()))
        )
        write(material, ids)
        ids.save(out / VOCABULARY)
        write_json(out / PAIRS, {"pairs": len(pairs), "directions": [str(way) for way in ways]})

    prepare_once(out, inputs, prepare)
    about = read_json(out / PAIRS)
    return Prepared(
        Vocabulary.load(out / VOCABULARY),
        tuple(Direction.parse(text) for text in cast("list[str]", about["directions"])),
        cast(int, about["pairs"]),
    )


def run_stage(out: Path, data: StageData, prepared: Prepared, plan: StagePlan, base: Base | None = None) -> Path:
    """Train a prepared stage, or go on with it; under `torchrun`, call it in every process.

    Args:
        out: the run's folder.
        data: what is learned.
        prepared: what `prepare_stage` gave.
        plan: how.
        base: whose weights the model begins with; None for a model from scratch.

    Returns:
        The folder of the finished stage.

    Raises:
        InputError: the run was begun with other settings, `base` has another shape, or it was told to stop.
    """
    course = plan.course if base is None else replace(plan.course, base=base.digest)  # a path says nothing elsewhere
    plan = replace(plan, course=course)
    model = Decoder(plan.model)
    model.reset_parameters(torch.Generator().manual_seed(course.seed))
    if base is not None:
        base.give_weights(model, prepared.vocabulary)
    held_out = ShardSet(out / "held_out") if (out / "held_out").is_dir() else None
    config = course.train_config(plan.size.learning_rate, shifted=plan.shifted)

    def watch(decoder: Decoder) -> Mapping[str, float]:
        return {} if plan.watch is None or held_out is None else plan.watch(decoder, held_out)

    with join_processes(course.device) as processes:
        result = train(model, plan.objective, config, out / "train", ShardSet(out / "shards"), held_out, watch)
        if not result.finished:
            raise InputError(f"{out}: stopped at step {result.step} of {course.steps}; give the same command to go on")
        if processes.is_first:
            _finish(out, data, prepared, plan, result)
            if (
                plan.score is not None
                and held_out is not None
                and not any(row["step"] == result.step for row in read_scores(out / "train"))
            ):
                log = MetricsLog(out / "train", step=result.step, tensorboard=False)
                log.write(result.step, plan.score(out / "model", str(processes.device)))
                log.close()
        processes.any(False)  # nobody reports success before the model is there
    return out / "model"


def _finish(out: Path, data: StageData, prepared: Prepared, plan: StagePlan, result: TrainResult) -> None:
    trained = load_model(result.checkpoint, part="average" if plan.course.average_decay else "model")
    card = StageCard(
        stage=plan.stage,
        directions=prepared.directions,
        units=data.units,
        codes=data.codes,
        parameters=sum(parameter.numel() for parameter in trained.parameters()),
        settings={**plan.settings, "course": asdict(plan.course)},
        trained_on=TrainedOn(data.manifest.name, data.digest, prepared.pairs, result.step, result.held_out_loss),
    )
    files = [out / name for name in plan.files]
    if not is_written(out / "model", trained, card, files):
        write_stage(out / "model", trained, prepared.vocabulary, card, files)
