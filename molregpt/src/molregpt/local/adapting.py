"""Adapting a trained local model to a table of one's own, with few parameters; the base stays as it is.

out/pairs/, out/held_out/    token shards
out/train/                   checkpoints, metrics.jsonl, TensorBoard
out/model/                   the result, which `--backend` takes: the adapter alone, and the name of its base
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from molregpt.console import messages
from molregpt.data.table import read_pairs
from molregpt.database import Database, join_tables, keep_readable
from molregpt.errors import InputError
from molregpt.files import make_folder
from molregpt.local.corpus import write_pair_shards
from molregpt.local.model import find_model, load_local_model
from molregpt.local.settings import AdaptSettings, CorpusConfig
from molregpt.local.shipped import SHIPPED_NAME
from molregpt.local.training import expect_finished, with_tuning
from unitlm.adapt import LoraConfig, PromptConfig, add_lora, add_prompt, prompt_ids, save_adapter
from unitlm.files import Json
from unitlm.objective import causal_objective
from unitlm.precision import choose_precision
from unitlm.shards import ShardSet
from unitlm.train import train
from unitlm.train_config import TrainConfig

_RATES = {"lora": 2e-3, "prompt": 2e-2}  # a prompt's few vectors have a long way to go (arXiv 2104.08691 used 0.3)


def adapt_local(base: str, tables: Sequence[Path], held_out: Path, out: Path, settings: AdaptSettings) -> Path:
    """Adapt a model, or go on with it.

    Args:
        base: `local`, or the folder of a model of `molregpt train`.
        tables: Pairs to learn; also the pool in which neighbours are found.
        held_out: Pairs to watch the loss on.
        out: The run's folder.
        settings: How.

    Returns:
        The folder to give to `--backend`.

    Raises:
        InputError: A table or the base cannot be read, the base is an adapter itself, the run was begun with other
            inputs, or it was told to stop.
    """
    found = find_model(base)
    local = load_local_model(found)
    if "base_folder" in local.card:
        raise InputError(f"{base}: an adapted model; adapt its base")
    pairs = keep_readable(join_tables([(table.name, read_pairs(table)) for table in tables]))
    watched = keep_readable(read_pairs(held_out))
    generator = torch.Generator().manual_seed(settings.seed)
    config: LoraConfig | PromptConfig
    if settings.method == "lora":
        config = LoraConfig(rank=settings.rank, alpha=2.0 * settings.rank)
        add_lora(local.decoder, config, generator)
    else:
        config = PromptConfig(length=settings.prompt_length)
        add_prompt(local.decoder, config, generator)
    prefix = tuple(prompt_ids(local.decoder))

    make_folder(out)
    messages().print(f"{len(pairs):,} pairs: writing shards")
    corpus = CorpusConfig(
        passes=settings.passes,
        shots=local.shots,
        depth=max(local.shots, CorpusConfig.depth),
        longest=local.longest - len(prefix),
        learned_passes=settings.passes,
        scrambled_share=0.0,  # the base has learned to copy; what is new are the words
        corpus_seed=settings.seed,
    )
    names = {pair.smiles: local.name(pair.smiles) for pair in (*pairs, *watched)}
    pool = Database(pairs)
    shards = write_pair_shards(out / "pairs", pairs, pool, names, local.vocabulary, corpus, prefix)
    plain = corpus.without_chance()
    watched_shards = write_pair_shards(out / "held_out", watched, pool, names, local.vocabulary, plain, prefix)
    run = TrainConfig(
        steps=settings.steps,
        batch_rows=settings.batch_rows,
        micro_batch_rows=1,
        sequence_length=local.longest,
        learning_rate=_RATES[settings.method] if settings.learning_rate is None else settings.learning_rate,
        warmup_steps=max(1, settings.steps // 20),
        weight_decay=0.0,
        precision=choose_precision("auto"),
        seed=settings.seed,
        evaluate_every=max(1, settings.steps // 5),
        checkpoint_every=max(1, settings.steps // 10),
        mixed_shards=16,
        evaluation_batches=12,
    )
    result = train(local.decoder, causal_objective, run, out / "train", ShardSet(*shards), ShardSet(*watched_shards))
    expect_finished(result, run, out)
    card: dict[str, Json] = {
        "base_folder": base if base == SHIPPED_NAME else str(found.resolve()),
        "pairs": len(pairs),
        "steps": result.step,
        "held_out_loss": result.held_out_loss,
    }
    save_adapter(out / "model", local.decoder, config, with_tuning(out / "model", card))
    return out / "model"
