"""Training of the local model, from tables to a folder that `--backend` can use.

    run/vocabulary.json        pieces and words
    run/pairs/, run/molecules/, run/held_out/    token shards
    run/recitals/, run/copying/                  shards and training of what comes first, where it does
    run/train/                 checkpoints, metrics.jsonl, TensorBoard
    run/model/                 the result: weights in bf16, vocabulary, card

Every step is skipped when its files are there, and training resumes exactly: one command begins a run and goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import cast

import torch

import unitlm.errors
from molregpt.console import messages
from molregpt.data.table import read_names, read_pairs
from molregpt.database import Database, join_tables, keep_readable
from molregpt.errors import InputError
from molregpt.files import make_folder
from molregpt.local.corpus import write_molecule_shards, write_pair_shards
from molregpt.local.facts import state_facts
from molregpt.local.language import ALL_TASKS, SMILES_PIECES, TEXT_PIECES, build_vocabulary
from molregpt.local.model import TUNED, load_local_model
from molregpt.local.names import read_molecules
from molregpt.local.recitals import write_recitals
from molregpt.local.settings import TrainSettings
from molregpt.records import Pair
from unitlm.alphabet import Bytes
from unitlm.checkpoint import load_model, read_manifest, save_model
from unitlm.dry_run import DryRun, Estimate, estimate_run
from unitlm.files import Json, read_json, write_json
from unitlm.model import Decoder, ModelConfig
from unitlm.objective import causal_objective
from unitlm.precision import choose_precision
from unitlm.shards import ShardSet
from unitlm.train import TrainResult, train
from unitlm.train_config import TrainConfig
from unitlm.vocabulary import Vocabulary

RECITAL_STEPS = 400
"""Steps in which a new model learns to copy."""


def train_local(
    tables: Sequence[Path],
    held_out: Path,
    out: Path,
    settings: TrainSettings,
    *,
    molecules: Path | None = None,
    names: Path | None = None,
    base: Path | None = None,
) -> Path:
    """Train the local model, or go on with it.

    Args:
        tables: Pairs to learn; also the pool in which neighbours are found, for the held-out pairs too.
        held_out: Pairs to watch the loss on.
        out: The run's folder.
        settings: Everything else.
        molecules: Table with a column SMILES: molecules without descriptions, for exercises.
        names: Table SMILES, name: systematic names of molecules, those of the pairs among them. Descriptions are made
            from them, and where they are given, the finished model asks for those of new molecules.
        base: Folder of a finished model to begin with; its vocabulary and its shape count, but for the dropout.

    Returns:
        The folder of the finished model.

    Raises:
        InputError: A table cannot be read, the run was begun with other inputs, or it was told to stop.
    """
    run = train_config(settings)  # what cannot be is told before hours of writing
    make_folder(out)
    pairs = keep_readable(join_tables([(table.name, read_pairs(table)) for table in tables]))
    watched = keep_readable(read_pairs(held_out))
    smiles = [smiles for _, smiles in read_molecules(molecules)] if molecules else []
    named = read_names(names) if names else {}
    begun = load_local_model(base) if base else None
    if begun and "base_folder" in begun.card:
        raise InputError(
            f"{base}: an adapter, whose own weights are not all of a model; give --base a model of `train`"
        )
    _remember_base(out, begun.digest if begun else None)
    vocabulary = begun.vocabulary if begun else _vocabulary(out / "vocabulary.json", pairs, smiles, named)
    shape = begun.decoder.config if begun else model_config(settings, vocabulary.size)
    pool = Database(pairs)
    messages().print(f"{len(pairs):,} pairs, {len(smiles):,} molecules, {len(named):,} names: writing shards")
    corpus = settings.corpus
    shards = list(write_pair_shards(out / "pairs", pairs, pool, named, vocabulary, corpus))
    if smiles:
        shards += write_molecule_shards(out / "molecules", smiles, named, vocabulary, corpus)
    watched_shards = write_pair_shards(out / "held_out", watched, pool, named, vocabulary, corpus.without_chance())

    model = Decoder(replace(shape, dropout=settings.size.dropout))
    if begun:
        model.load_state_dict(begun.decoder.state_dict())
    else:
        model.reset_parameters(torch.Generator().manual_seed(settings.course.seed))
    recital_steps = _count_recital_steps(settings, from_scratch=begun is None)
    if recital_steps:
        _learn_to_copy(model, recital_steps, vocabulary, out, settings)
    result = train(model, causal_objective, run, out / "train", ShardSet(*shards), ShardSet(*watched_shards))
    expect_finished(result, run, out)
    card: dict[str, Json] = {
        "pairs": len(pairs),
        "molecules": len(smiles),
        "names": len(named),
        "steps": result.step,
        "held_out_loss": result.held_out_loss,
        "shots": corpus.shots,
        "longest": corpus.longest,
    }
    if begun:
        card["base"] = begun.digest
    return pack_model(out / "model", load_model(result.checkpoint, part="average"), vocabulary, card)


def _count_recital_steps(settings: TrainSettings, *, from_scratch: bool) -> int:
    """Steps in which copying is learned: as many as are asked for, and by default only for a model from scratch."""
    asked = settings.course.recital_steps
    return (RECITAL_STEPS if from_scratch else 0) if asked is None else asked


def _learn_to_copy(model: Decoder, steps: int, vocabulary: Vocabulary, out: Path, settings: TrainSettings) -> None:
    """Train on recitals alone, without dropout, which keeps copying from being learned; the model is changed."""
    config = train_config(settings)
    run = replace(
        config, steps=steps, warmup_steps=min(config.warmup_steps, steps // 4), decay_steps=0, average_decay=0.0
    )
    corpus = settings.corpus
    count, watched = steps * run.batch_rows, run.evaluation_batches * run.batch_rows
    seed = corpus.corpus_seed
    shards = write_recitals(out / "recitals", count, vocabulary, corpus.longest, seed)
    watched_shards = write_recitals(out / "recitals_held_out", watched, vocabulary, corpus.longest, seed + 1)
    pupil = Decoder(replace(model.config, dropout=0.0))
    pupil.load_state_dict(model.state_dict())
    result = train(pupil, causal_objective, run, out / "copying", ShardSet(*shards), ShardSet(*watched_shards))
    expect_finished(result, run, out)
    model.load_state_dict(load_model(result.checkpoint).state_dict())


def expect_finished(result: TrainResult, run: TrainConfig, out: Path) -> None:
    """InputError with what to do, when training in `out` was told to stop before its last step."""
    if not result.finished:
        raise InputError(f"{out}: stopped at step {result.step} of {run.steps}; give the same command to go on")


def model_config(settings: TrainSettings, vocabulary_size: int) -> ModelConfig:
    """The shape of the model, for so many ids."""
    size = settings.size
    return ModelConfig(
        vocabulary_size=vocabulary_size,
        width=size.width,
        layers=size.layers,
        heads=size.heads,
        key_value_heads=size.heads,
        feed_forward_width=size.feed_forward_width,
        dropout=size.dropout,
    )


def train_config(settings: TrainSettings, device: str = "auto") -> TrainConfig:
    """What the training loop is told, on a device."""
    course = asdict(settings.course) | {"precision": choose_precision(settings.course.precision, device)}
    del course["recital_steps"]
    return TrainConfig(
        **course,
        sequence_length=settings.corpus.longest,
        schedule="wsd",
        final_factor=0.05,
        average_decay=0.998,
        optimizer="muon",
        mixed_shards=16,
        evaluation_batches=12,
    )


def estimate_local(settings: TrainSettings, machines: DryRun, base: Path | None = None) -> Estimate:
    """Count what the training would cost, recitals among it, if the vocabulary takes all the pieces that it may.

    Raises:
        InputError: `base` is no model.
    """
    run = train_config(settings, "cuda")
    run = replace(run, steps=run.steps + _count_recital_steps(settings, from_scratch=base is None))
    if base is not None:
        return estimate_run("local model", load_local_model(base).decoder.config, run, machines)
    without = Vocabulary.build([Bytes("text"), Bytes("smiles")], ALL_TASKS)
    size = without.size - sum(alphabet.size for alphabet in without.alphabets.values()) + TEXT_PIECES + SMILES_PIECES
    return estimate_run("local model", model_config(settings, size), run, machines)


def pack_model(folder: Path, model: Decoder, vocabulary: Vocabulary, card: Mapping[str, Json]) -> Path:
    """Write a model folder: weights in bf16, vocabulary, and what it was made from."""
    save_model(folder, model.to(torch.bfloat16), with_tuning(folder, card))
    vocabulary.save(folder / "vocabulary.json")
    return folder


def with_tuning(folder: Path, card: Mapping[str, Json]) -> dict[str, Json]:
    """The card, with what `tune` fitted to the model that is in the folder, if that one came of the same training."""
    known: Mapping[str, Json] = {}
    with suppress(unitlm.errors.InputError):  # there is none, or it is damaged
        known = cast("Mapping[str, Json]", read_manifest(folder)["metadata"])
    if any(known.get(key) != value for key, value in card.items()):
        return dict(card)
    return {**card, **{key: known[key] for key in TUNED if key in known}}


def _remember_base(out: Path, digest: str | None) -> None:
    """Write down what a run begins with; once it has begun, only that will do."""
    path = out / "base.json"
    if path.exists():
        before = read_json(path).get("base")
    else:
        before = None if (out / "train").exists() else digest
        write_json(path, {"base": before})
    if before != digest:
        raise InputError(
            f"{out}: the run here was begun with {before or 'no model'} as its base, not {digest or 'none'}"
        )


def _vocabulary(path: Path, pairs: Sequence[Pair], smiles: Sequence[str], names: Mapping[str, str]) -> Vocabulary:
    if path.exists():
        return Vocabulary.load(path)
    captions = [pair.caption for pair in pairs]
    molecules = [*(pair.smiles for pair in pairs), *smiles]
    # As many names as descriptions, and a fortieth of the facts, so that their pieces are known but do not crowd out
    # those of descriptions.
    known = list(names.values())
    facts = [sentence for line in smiles[::40] if (sentence := state_facts(line)) is not None]
    vocabulary = build_vocabulary([*captions, *known[:: max(1, len(known) // len(captions))], *facts], molecules)
    vocabulary.save(path)
    return vocabulary
