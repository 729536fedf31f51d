"""Trains a tiny decoder as a process of its own.

train_worker.py SHARDS HELD_OUT MODEL_JSON RUN_FOLDER CONFIG_JSON [RUN_FOLDER CONFIG_JSON ...]
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from unitlm.data import Batch
from unitlm.distributed import join_processes
from unitlm.model import Decoder, ModelConfig
from unitlm.objective import causal_objective
from unitlm.settings import parse_settings
from unitlm.shards import ShardSet
from unitlm.train import train
from unitlm.train_config import TrainConfig


def noisy_objective(model: nn.Module, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Next-id loss on a random three quarters of the targets: its weight is known only once it is computed."""
    keep = torch.rand(batch.weights.shape, generator=generator) < 0.75
    thinned = Batch(batch.ids, batch.targets, batch.weights * keep, batch.segments, batch.positions, batch.conditions)
    time.sleep(0.005)  # leaves the killer time to strike in mid-run
    return causal_objective(model, thinned, generator)


def main(shards: str, held_out: str, model_json: str, *runs: str) -> None:
    torch.manual_seed(0)
    model_config = parse_settings(ModelConfig, json.loads(model_json), "model")
    with join_processes("cpu") as processes:
        for run_folder, config_json in zip(runs[::2], runs[1::2], strict=True):
            model = Decoder(model_config)
            # Only the first process starts from the right weights: the others have to be given them.
            model.reset_parameters(torch.Generator().manual_seed(processes.rank))
            config = parse_settings(TrainConfig, json.loads(config_json), "train")
            train(model, noisy_objective, config, Path(run_folder), ShardSet(Path(shards)), ShardSet(Path(held_out)))


if __name__ == "__main__":
    main(*sys.argv[1:])
