"""Training of the translation model, from a pair manifest and extracted units to a finished stage."""

from __future__ import annotations

import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

from polyvoice.corpus.manifest import read_manifest
from polyvoice.errors import InputError
from polyvoice.spoken import load_pairs
from polyvoice.stages.base import Base
from polyvoice.stages.directions import orient_pairs
from polyvoice.stages.material import Material
from polyvoice.stages.presets import PRESETS
from polyvoice.stages.running import StagePlan, open_data, prepare_stage, run_stage
from polyvoice.stages.translate.data import (
    build_vocabulary,
    can_show,
    digest_vocabulary,
    learned_lines,
    without_chance,
    write_pair_shards,
)
from polyvoice.stages.translate.memory import FILE as MEMORY
from polyvoice.stages.translate.memory import TranslationMemory
from polyvoice.stages.translate.scoring import score_pairs
from polyvoice.stages.translate.settings import TranslateSettings
from polyvoice.tasks import UNITS
from unitlm.objective import causal_objective
from unitlm.vocabulary import Vocabulary


def train_translate(manifest: Path, extracted: Path, out: Path, settings: TranslateSettings) -> Path:
    """Train the translation model, or go on with it; under `torchrun`, call it in every process.

    Args:
        manifest: the pair manifest; its split dev, if any, is held out.
        extracted: the folder of `speechunits extract`, with units.
        out: the run's folder; see `polyvoice.stages.running`. The last line of its train/metrics.jsonl holds the
            error rates on held-out pairs.
        settings: everything else.

    Returns:
        The folder of the finished stage.

    Raises:
        InputError: the data cannot be used, the base knows text that is not to be learned, the run was begun with other
            data or settings, or it was told to stop.
    """
    data, corpus, course = open_data(manifest, extracted, with_codes=False), settings.corpus, settings.course
    longest = course.sequence_length + 1  # the last id is a target only

    def write(material: Material, vocabulary: Vocabulary) -> None:
        provenance = f"{material.provenance} {digest_vocabulary(vocabulary)}"

        memory = TranslationMemory.of(material.pairs if corpus.neighbours else ())
        if corpus.neighbours:
            memory.save(out / MEMORY)

        write_to = partial(
            write_pair_shards, vocabulary=vocabulary, memory=memory, longest=longest, provenance=provenance
        )
        skipped = write_to(out / "shards", material.pairs, settings=corpus)
        if any(can_show(pair, vocabulary, corpus) for pair in material.held_out):
            write_to(out / "held_out", material.held_out, settings=without_chance(corpus), nearest=True)
        elif material.held_out:
            print(f"{out}: no held-out pair can show a task that is learned: none is watched", file=sys.stderr)
        if skipped:
            print(f"{out}: {skipped} examples of more than {longest} ids left out", file=sys.stderr)

    def score(folder: Path, device: str) -> dict[str, float]:
        dev = load_pairs(manifest, extracted, "dev", with_codes=False)
        return score_pairs(folder, orient_pairs(dev, prepared.directions), device)

    base = Base.open(course.base, "translate", renewed=settings.new_vocabulary)
    if base is not None and not base.renewed and corpus.text == "none" and base.vocabulary.alphabets.keys() != {UNITS}:
        raise InputError(f"{base.folder}: knows text, which text none would leave out; give new_vocabulary")
    prepared = prepare_stage(
        out,
        data,
        settings.directions,
        {"sequence_length": course.sequence_length, **asdict(corpus)},
        lambda directions: build_vocabulary(read_manifest(manifest), directions, data.units.clusters, corpus),
        write,
        base,
    )
    size = PRESETS[settings.preset]["translate"]
    plan = StagePlan(
        stage="translate",
        size=size,
        model=settings.model_config(prepared.vocabulary.size),
        objective=causal_objective,
        shifted=True,
        course=course,
        settings={
            "preset": settings.preset,
            "prefix_lm": settings.prefix_lm,
            "tasks": learned_lines(prepared.directions, prepared.vocabulary, corpus),
            "corpus": asdict(corpus),
        },
        score=score,
        files=(MEMORY,) if corpus.neighbours else (),
    )
    return run_stage(out, data, prepared, plan, base)
