"""How long and how fast a stage is trained: the settings that all stages share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from unitlm.train_config import TrainConfig


@dataclass(frozen=True)
class Course:
    """Steps and rates.

    Attributes:
        base: folder of a finished stage to begin with, `RUN/model` or a stage's in a bundle; its vocabulary counts, not
            what the data would give (see translate's new_vocabulary). Empty for a model from scratch.
        steps: optimizer steps of the whole run.
        batch_rows: rows of the global batch, whatever the number of processes.
        micro_batch_rows: rows that one process computes at once; the rest is accumulation.
        sequence_length: steps of a row; examples that are longer are left out.
        learning_rate: peak learning rate; the preset's when not given.
        optimizer: adamw, or muon for the blocks' matrices.
        warmup_steps: steps until the peak; a fiftieth of all when not given.
        decay_steps: steps of the fall at the end; a quarter of all when not given.
        average_decay: decay of the averaged weights, which are what is used in the end; 0 keeps none.
        precision: bf16 computes under autocast, with weights in float32; auto takes it where the hardware has
            instructions for it, else fp32.
        mixed_shards: token shards of which examples are drawn together. A pair's examples of several tasks lie in one:
            of more shards they are farther apart, and less is learned by heart. A shard takes 2 MB of memory in
            translation, and up to 30 where it holds all levels of a codec.
        seed: of the weights, the order of the data and all chance in training.
        evaluate_every: steps between looks at the split dev.
        evaluation_batches: batches of such a look; 0 takes all.
        checkpoint_every: steps between checkpoints.
        log_every: steps between lines of metrics.jsonl.
        device: auto, cpu, cuda or cuda:N.
        strategy: how the processes of torchrun share the work.
    """

    base: str = ""
    steps: int = 20_000
    batch_rows: int = 16
    micro_batch_rows: int = 8
    sequence_length: int = 768
    learning_rate: float | None = None
    optimizer: Literal["adamw", "muon"] = "adamw"
    warmup_steps: int | None = None
    decay_steps: int | None = None
    average_decay: float = 0.998
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    mixed_shards: int = 32
    seed: int = 0
    evaluate_every: int = 500
    evaluation_batches: int = 16
    checkpoint_every: int = 250
    log_every: int = 10
    device: str = "auto"
    strategy: Literal["ddp", "fsdp"] = "ddp"

    def train_config(self, preset_rate: float, *, shifted: bool = True) -> TrainConfig:
        """What `unitlm.train.train` is told.

        Args:
            preset_rate: the peak learning rate of the model's size, for when none is given.
            shifted: whether a position's target is the next id, or its own (bidirectional models).

        Raises:
            unitlm.errors.InputError: a value is out of range.
        """
        from unitlm.precision import choose_precision
        from unitlm.train_config import TrainConfig

        return TrainConfig(
            steps=self.steps,
            batch_rows=self.batch_rows,
            micro_batch_rows=self.micro_batch_rows,
            sequence_length=self.sequence_length,
            learning_rate=preset_rate if self.learning_rate is None else self.learning_rate,
            optimizer=self.optimizer,
            schedule="wsd",
            warmup_steps=self.steps // 50 if self.warmup_steps is None else self.warmup_steps,
            decay_steps=self.steps // 4 if self.decay_steps is None else self.decay_steps,
            final_factor=0.05,
            average_decay=self.average_decay,
            precision=choose_precision(self.precision, self.device),
            shifted=shifted,
            mixed_shards=self.mixed_shards,
            seed=self.seed,
            device=self.device,
            strategy=self.strategy,
            log_every=self.log_every,
            evaluate_every=self.evaluate_every,
            evaluation_batches=self.evaluation_batches,
            checkpoint_every=self.checkpoint_every,
        )
