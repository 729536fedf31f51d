"""Training of the translation model, from a pair manifest and extracted units to a finished stage.

    run/vocabulary.json    units, and pieces of each language's text
    run/shards/, run/held_out/    token shards
    run/prepared.json      what these were made from
    run/train/             checkpoints, metrics.jsonl, TensorBoard
    run/model/             the result: weights, vocabulary, stage.json

Every step is skipped when its files are there, and training resumes exactly: one command begins a run and goes on.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import torch

from polyvoice.errors import InputError
from polyvoice.spoken import load_training_pairs
from polyvoice.stages.preparation import digest_inputs, prepare_once
from polyvoice.stages.presets import PRESETS
from polyvoice.stages.stage_folder import VOCABULARY, StageCard, TrainedOn, write_stage
from polyvoice.stages.translate.data import (
    build_vocabulary,
    find_directions,
    learned_tasks,
    orient_pairs,
    without_chance,
    write_pair_shards,
)
from polyvoice.stages.translate.settings import TranslateSettings
from polyvoice.tasks import Direction
from speechunits.extracted import UnitsInfo, read_extracted
from unitlm.checkpoint import load_model
from unitlm.distributed import join_processes
from unitlm.files import Json, read_json, write_json
from unitlm.model import Decoder
from unitlm.objective import causal_objective
from unitlm.shards import ShardSet
from unitlm.train import train
from unitlm.vocabulary import Vocabulary

_PAIRS = "pairs.json"


def train_translate(manifest: Path, extracted: Path, out: Path, settings: TranslateSettings) -> Path:
    """Train the translation model, or go on with it; under `torchrun`, call it in every process.

    Args:
        manifest: the pair manifest; its split dev, if any, is held out.
        extracted: the folder of `speechunits extract`, with units.
        out: the run's folder.
        settings: everything else.

    Returns:
        The folder of the finished stage.

    Raises:
        InputError: the data cannot be used, the run was begun with other data or settings, or it was told to stop.
    """
    course, corpus = settings.course, settings.corpus
    info, _ = read_extracted(extracted)
    if info.units is None:
        raise InputError(f"{extracted}: holds no units; extract them with an encoder and a k-means")
    units, digest = info.units, digest_inputs(manifest, extracted)
    inputs: dict[str, Json] = {
        "data": digest,
        "directions": settings.directions,
        "sequence_length": course.sequence_length,
        **asdict(corpus),
    }
    prepare_once(out, inputs, lambda: _prepare(manifest, extracted, out, settings, units, repr(sorted(inputs.items()))))

    vocabulary = Vocabulary.load(out / VOCABULARY)
    prepared = read_json(out / _PAIRS)
    directions = tuple(Direction.parse(str(text)) for text in list(prepared["directions"]))  # type: ignore[arg-type]
    size = PRESETS[settings.preset]["translate"]
    config = size.model_config(vocabulary.size, prefix_lm=settings.prefix_lm, dropout=settings.dropout)
    model = Decoder(config)
    model.reset_parameters(torch.Generator().manual_seed(course.seed))
    held_out = ShardSet(out / "held_out") if (out / "held_out").is_dir() else None
    with join_processes(course.device) as processes:
        run = course.train_config(size.learning_rate)
        result = train(model, causal_objective, run, out / "train", ShardSet(out / "shards"), held_out)
        if not result.finished:
            raise InputError(f"{out}: stopped at step {result.step} of {course.steps}; give the same command to go on")
        if processes.is_first:
            lines = [task.line for tasks in learned_tasks(directions, vocabulary, corpus).values() for task in tasks]
            trained = load_model(result.checkpoint, part="average" if course.average_decay else "model")
            card = StageCard(
                stage="translate",
                directions=directions,
                units=units,
                codes=None,
                parameters=sum(parameter.numel() for parameter in trained.parameters()),
                settings={
                    "tasks": tuple(sorted(set(lines))),
                    "preset": settings.preset,
                    "prefix_lm": settings.prefix_lm,
                    "corpus": asdict(corpus),
                    "course": asdict(course),
                },
                trained_on=TrainedOn(
                    manifest.name, digest, int(str(prepared["pairs"])), result.step, result.held_out_loss
                ),
            )
            write_stage(out / "model", trained, vocabulary, card)
        processes.any(False)  # nobody reports success before the model is there
    return out / "model"


def _prepare(
    manifest: Path, extracted: Path, out: Path, settings: TranslateSettings, units: UnitsInfo, provenance: str
) -> None:
    corpus, longest = settings.corpus, settings.course.sequence_length + 1  # the last id is a target only
    pairs, held_out = load_training_pairs(manifest, extracted, with_codes=False)
    directions = find_directions(pairs, settings.directions)
    if (out / VOCABULARY).exists():  # of a preparation that was killed: its first shards are written in it
        vocabulary = Vocabulary.load(out / VOCABULARY)
    else:
        vocabulary = build_vocabulary(pairs, directions, units.clusters, corpus)
        vocabulary.save(out / VOCABULARY)
    oriented = orient_pairs(pairs, directions)
    skipped = write_pair_shards(out / "shards", oriented, vocabulary, corpus, longest=longest, provenance=provenance)
    if skipped:
        print(f"{out}: {skipped} examples of more than {longest} ids left out", file=sys.stderr)
    watched = orient_pairs(held_out, directions)
    if watched:
        write_pair_shards(
            out / "held_out", watched, vocabulary, without_chance(corpus), longest=longest, provenance=provenance
        )
    write_json(out / _PAIRS, {"pairs": len(pairs), "directions": [str(way) for way in directions]})
