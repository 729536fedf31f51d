"""A run goes on with more processes or fewer, under either strategy, as if nothing had been."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from unitlm.checkpoint import read_checkpoint
from unitlm.metrics import read_metrics
from unitlm.model import ModelConfig
from unitlm.run_folder import find_checkpoints
from unitlm.shards import Example, write_shards
from unitlm.train_config import TrainConfig

WORKER = Path(__file__).with_name("train_worker.py")
MODEL = ModelConfig(
    vocabulary_size=20, width=16, layers=2, heads=4, key_value_heads=2, feed_forward_width=32, dropout=0.1
)
CONFIG = TrainConfig(
    steps=12,
    batch_rows=6,  # a multiple of one, two and three
    micro_batch_rows=1,
    sequence_length=24,
    learning_rate=0.02,
    average_decay=0.9,
    seed=3,
    device="cpu",
    log_every=1,
    checkpoint_every=4,
    keep_checkpoints=3,
    tensorboard=False,
)


def write_examples(folder: Path, first: int, count: int) -> Path:
    def examples(part: range) -> list[Example]:
        drawn = [np.random.default_rng(number).integers(20, size=4 + number % 15) for number in part]
        return [
            Example(f"e{number}", ids.astype(np.int32), np.arange(len(ids)) >= 2)
            for number, ids in zip(part, drawn, strict=True)
        ]

    write_shards(folder, [range(start, start + 15) for start in range(first, first + count, 15)], examples)
    return folder


def train_with(processes: int, data: list[Path], folder: Path, config: TrainConfig) -> None:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    arguments = [str(WORKER), *map(str, data), json.dumps(asdict(MODEL)), str(folder), json.dumps(asdict(config))]
    done = subprocess.run(
        [sys.executable, *launcher, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def forget_after(folder: Path, step: int) -> None:
    """Make a finished run one that was killed after `step`."""
    for path in find_checkpoints(folder):
        if int(path.name.removeprefix("step-")) > step:
            shutil.rmtree(path)
    assert read_checkpoint(find_checkpoints(folder)[-1], parts=()).metadata["step"] == step


@pytest.mark.slow
def test_a_run_goes_on_with_more_processes_and_with_fewer(tmp_path: Path) -> None:
    data = [write_examples(tmp_path / "shards", 0, 90), write_examples(tmp_path / "held_out", 1_000, 15)]
    one, moved = tmp_path / "one", tmp_path / "moved"
    train_with(1, data, one, CONFIG)
    shutil.copytree(one, moved)
    # One process to step 4, two with FSDP2 to step 8, three with DDP to the end.
    for step, processes, strategy in ((4, 2, "fsdp"), (8, 3, "ddp")):
        forget_after(moved, step)
        train_with(processes, data, moved, replace(CONFIG, strategy=strategy))
        expected, found = (
            [{key: value for key, value in row.items() if key != "tokens_per_s"} for row in read_metrics(folder)]
            for folder in (one, moved)
        )
        # Gradients are added up in another order, and nothing else differs: dropout, thinned targets and batches agree.
        for row, alone in zip(found, expected, strict=True):
            assert row == pytest.approx(alone, rel=2e-5)
        ends = [read_checkpoint(find_checkpoints(folder)[-1]) for folder in (one, moved)]
        assert ends[0].metadata == ends[1].metadata
        for part, tensors in ends[0].parts.items():
            for name, tensor in tensors.items():
                torch.testing.assert_close(ends[1].parts[part][name], tensor, rtol=1e-3, atol=1e-5)
    assert set(ends[0].parts) == {"model", "optimizer", "average"}
