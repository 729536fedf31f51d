"""What a training run may be told."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from unitlm.distributed import Strategy
from unitlm.errors import InputError
from unitlm.optimizer import OptimizerName
from unitlm.schedule import Schedule

FREE = frozenset(
    {"device", "strategy", "log_every", "evaluate_every", "checkpoint_every", "keep_checkpoints", "tensorboard"}
)
"""Settings that may change when a run is continued: they do not change its result (but for rounding)."""


@dataclass(frozen=True)
class TrainConfig:
    """Everything about a run but the model, the objective and the data.

    Attributes:
        steps: Optimizer steps of the whole run.
        batch_rows: Rows of the global batch, whatever the number of processes.
        micro_batch_rows: Rows that one process computes at once; the rest is accumulation.
        sequence_length: Steps of a row.
        learning_rate: Peak learning rate.
        optimizer: `adamw`, or `muon` for the blocks' matrices with AdamW for the rest.
        schedule: Its course; see `unitlm.schedule`.
        warmup_steps: Steps until the peak.
        decay_steps: Steps of the fall at the end (`wsd` only).
        final_factor: Factor on the peak at the last step.
        weight_decay: Decay of the matrices.
        beta1: AdamW's memory of gradients.
        beta2: AdamW's memory of squared gradients.
        clip_norm: Largest norm of the gradient.
        average_decay: Decay of the averaged weights; 0 keeps none.
        precision: `bf16` computes under autocast, with weights in float32.
        shifted: Whether a position's target is the next id (causal) or its own (bidirectional).
        mixed_shards: Shards that are shuffled as one.
        seed: Seed of the data's order and of all chance in training.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        strategy: How several processes share the work.
        log_every: Steps between reports.
        evaluate_every: Steps between evaluations; 0 evaluates at the end only.
        evaluation_batches: Batches of an evaluation; 0 takes all.
        checkpoint_every: Steps between checkpoints; 0 saves at the end only.
        keep_checkpoints: How many of the last checkpoints stay.
        tensorboard: Whether to write for TensorBoard beside `metrics.jsonl`.

    Raises:
        InputError: A value is out of range.
    """

    steps: int
    batch_rows: int
    micro_batch_rows: int
    sequence_length: int
    learning_rate: float
    optimizer: OptimizerName = "adamw"
    schedule: Schedule = "cosine"
    warmup_steps: int = 0
    decay_steps: int = 0
    final_factor: float = 0.1
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    clip_norm: float = 1.0
    average_decay: float = 0.0
    precision: Literal["fp32", "bf16"] = "fp32"
    shifted: bool = True
    mixed_shards: int = 4
    seed: int = 0
    device: str = "auto"
    strategy: Strategy = "ddp"
    log_every: int = 10
    evaluate_every: int = 0
    evaluation_batches: int = 0
    checkpoint_every: int = 0
    keep_checkpoints: int = 2
    tensorboard: bool = True

    def __post_init__(self) -> None:
        least: dict[str, int] = dict.fromkeys(("warmup_steps", "decay_steps", "seed", "evaluate_every"), 0)
        least |= dict.fromkeys(("evaluation_batches", "checkpoint_every"), 0)
        least |= dict.fromkeys(("steps", "batch_rows", "micro_batch_rows", "sequence_length"), 1)
        least |= dict.fromkeys(("mixed_shards", "log_every", "keep_checkpoints"), 1)
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise InputError(f"train config: {name} must be at least {bound}, got {getattr(self, name)}")
        for name in ("learning_rate", "clip_norm"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise InputError(f"train config: {name} must be a number above 0, got {getattr(self, name)}")
        for name in ("beta1", "beta2", "average_decay"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise InputError(f"train config: {name} must be in [0, 1), got {getattr(self, name)}")
        for name in ("final_factor", "weight_decay"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"train config: {name} must be in [0, 1], got {getattr(self, name)}")
        if self.batch_rows % self.micro_batch_rows:
            raise InputError(
                f"train config: batch_rows ({self.batch_rows}) must be a multiple of "
                f"micro_batch_rows ({self.micro_batch_rows})"
            )
        if self.warmup_steps + self.decay_steps > self.steps:
            raise InputError(f"train config: warmup_steps + decay_steps are more than the {self.steps} steps")
