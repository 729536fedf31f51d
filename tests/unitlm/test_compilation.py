"""Compiled blocks: the same training, the same resume; and training without them where there is no compiler."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from unitlm import compilation
from unitlm.checkpoint import hash_tensors
from unitlm.metrics import read_metrics
from unitlm.model import Block, Decoder, ModelConfig
from unitlm.objective import causal_objective
from unitlm.run_folder import find_checkpoints
from unitlm.shards import Example, ShardSet, write_shard
from unitlm.train import train
from unitlm.train_config import TrainConfig

CPU = torch.device("cpu")
MODEL = ModelConfig(
    vocabulary_size=20, width=16, layers=2, heads=2, key_value_heads=1, feed_forward_width=32, dropout=0.1
)
CONFIG = TrainConfig(
    steps=6,
    batch_rows=4,
    micro_batch_rows=2,
    sequence_length=16,
    learning_rate=0.01,
    precision="bf16",
    device="cpu",
    log_every=1,
    checkpoint_every=3,
    tensorboard=False,
)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    path = tmp_path_factory.mktemp("shards") / "train.parquet"
    counting = (np.arange(4 + n % 9, dtype=np.int32) + n for n in range(60))
    write_shard(path, (Example(str(n), ids % 20, np.arange(len(ids)) >= 2) for n, ids in enumerate(counting)))
    return ShardSet(path)


def run(folder: Path, shards: ShardSet) -> tuple[list[float], str]:
    """Losses of all steps, and the final weights' hash."""
    model = Decoder(MODEL)
    model.reset_parameters(torch.Generator().manual_seed(0))
    train(model, causal_objective, CONFIG, folder, shards, held_out=shards)
    losses = [row["loss"] for row in read_metrics(folder) if "loss" in row]
    return losses, hash_tensors(dict(model.named_parameters()))


@pytest.mark.slow
def test_compiled_training_is_the_same_and_resumes_exactly(
    shards: ShardSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, _ = run(tmp_path / "plain", shards)
    monkeypatch.setitem(compilation.LEAST_WORK, "cpu", 0.0)
    assert compilation.can_compile(CPU)
    through, weights = run(tmp_path / "through", shards)
    assert through == pytest.approx(plain, rel=2e-3)  # the same chance; bf16 rounds at other places
    run(tmp_path / "resumed", shards)
    for path in find_checkpoints(tmp_path / "resumed")[1:]:
        (path / "checkpoint.json").unlink()
    assert run(tmp_path / "resumed", shards)[1] == weights


def test_blocks_are_whole_again_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[object] = []
    monkeypatch.setattr(torch, "compile", lambda function, **_: compiled.append(function) or function)
    model = Decoder(MODEL)
    with compilation.compiled_blocks(model):
        assert "enter" in vars(model.layers[1])
        assert len(compiled) == 1 + 2 * MODEL.layers  # a trial, and two halves a block
    assert "enter" not in vars(model.layers[1])
    assert model.layers[1].leave.__func__ is Block.leave


def test_without_a_compiler_training_goes_on_and_says_so_once(
    shards: ShardSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected, _ = run(tmp_path / "plain", shards)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("InvalidCxxCompiler: none found\nand a long story")

    monkeypatch.setitem(compilation.LEAST_WORK, "cpu", 0.0)
    monkeypatch.setattr(torch, "compile", fail)
    with caplog.at_level(logging.WARNING):
        assert run(tmp_path / "alone", shards)[0] == expected
    assert caplog.messages == ["training goes on without compiled blocks: InvalidCxxCompiler: none found"]


def test_only_long_runs_are_compiled() -> None:
    model = Decoder(replace(MODEL, width=64))
    parameters = sum(value.numel() for value in model.parameters())
    for kind, least in compilation.LEAST_WORK.items():
        enough = int(least / 6 / parameters) + 1
        assert compilation.is_worthwhile(model, enough, torch.device(kind))
        assert not compilation.is_worthwhile(model, enough - 2, torch.device(kind))
    assert not compilation.is_worthwhile(model, 10**18, torch.device("meta"))
