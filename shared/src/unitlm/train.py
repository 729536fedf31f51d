"""Training: one loop for every decoder of the house, on one process or many, that resumes exactly.

Chance, the data's order and the learning rate are all functions of the seed and the step, so a checkpoint needs the
weights, the optimizer's memory and a `DataPosition`, and a run that was killed goes on as if it had not been. A
micro-batch draws its own seed, whichever process computes it; with the loss divided by the weight of the global
batch, the number of processes and the accumulation change results by rounding only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from unitlm import compilation
from unitlm.checkpoint import Checkpoint, hash_tensors, read_checkpoint, write_checkpoint
from unitlm.data import Batch, DataPosition, Packer, Packing, read_ahead
from unitlm.distributed import Processes, gather, join_processes, parallelize, shard_like, sync_gradients
from unitlm.ema import WeightAverage
from unitlm.errors import DivergedError, InputError
from unitlm.files import Json, read_json
from unitlm.model import Decoder
from unitlm.objective import Objective
from unitlm.optimizer import Optimizers
from unitlm.reporter import Reporter, StepReport
from unitlm.run_folder import (
    RECORD,
    checkpoint_folder,
    find_checkpoints,
    lock_run,
    prune_checkpoints,
    record_run,
    step_of,
    watch_for_stop,
)
from unitlm.schedule import is_before_fall, learning_rate_factor
from unitlm.settings import parse_settings
from unitlm.shards import ShardSet
from unitlm.train_config import FREE, TrainConfig

Watch = Callable[[Decoder], Mapping[str, float]]
"""Finds out more of a model on its way, in evaluation mode and with its averaged weights: figures for the diary."""


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Attributes:
        step: The last step taken.
        finished: Whether it was the last one asked for; otherwise the run was told to stop and can be continued.
        checkpoint: Where its state is; `load_model` reads the weights from it (`part="average"`: the averaged ones).
        held_out_loss: Loss per target on the held-out data at the end (nats), when there is such data; of a run that
            was told to stop, the last one of this call, if any.
    """

    step: int
    finished: bool
    checkpoint: Path
    held_out_loss: float | None


def train(
    model: Decoder,
    objective: Objective,
    config: TrainConfig,
    run_folder: Path,
    shards: ShardSet,
    held_out: ShardSet | None = None,
    watch: Watch | None = None,
) -> TrainResult:
    """Train `model`, from the run folder's last checkpoint if it has one.

    Until the learning rate of a `wsd` run falls, it may be continued with other `steps` and `decay_steps`.

    Args:
        model: Freshly made (or pre-trained), on the CPU; only parameters that require gradients are trained and
            saved, so a model with an adapter works. Afterwards it holds the raw final weights (with FSDP2: shards) and
            is in evaluation mode.
        objective: What to minimise.
        config: How.
        run_folder: Where everything goes, on a disk that all processes share; one run has one folder.
        shards: What to train on.
        held_out: What to evaluate on.
        watch: Asked after each evaluation, in the first process; not under FSDP2, where none holds the whole model.

    Returns:
        How it ended.

    Raises:
        InputError: The folder is in use or holds another run, or config, model, data and processes do not fit.
        DivergedError: The loss or the gradient is not finite; the last checkpoint is from before that.
    """
    with (
        join_processes(config.device) as processes,
        lock_run(run_folder, processes),
        _own_chance(processes.device),
        watch_for_stop() as stop,
    ):
        trainer = _Trainer(model, objective, config, processes)
        found = find_checkpoints(run_folder)
        free = FREE | _find_open(run_folder, config, step_of(found[-1]) if found else 0)
        record_run(run_folder, trainer.describe(shards, held_out), free, processes)
        position = trainer.restore(found[-1]) if found else DataPosition(config.seed)
        shares = read_ahead(trainer.shares(shards, position))
        first, step, stopped, held_out_loss = trainer.step + 1, trainer.step, False, None
        with (
            Reporter(run_folder, config, step, enabled=processes.is_first) as reporter,
            compilation.compiled_blocks(model) if _may_compile(model, config, processes) else nullcontext(),
        ):
            for step in range(first, config.steps + 1):
                share, position = next(shares)
                report = trainer.update(share, stop_asked=stop.received)
                last, stopped = step == config.steps, report.stop_asked
                reporter.update(step, position.epoch, report, write=last or step % config.log_every == 0)
                if held_out is not None and (last or _due(step, config.evaluate_every)):
                    held_out_loss = trainer.evaluate(held_out)
                    reporter.evaluated(step, held_out_loss, trainer.ask(watch) if watch is not None else {})
                if last or stopped or _due(step, config.checkpoint_every):
                    trainer.save(run_folder, position)
                if stopped:
                    break
        if held_out is not None and held_out_loss is None and not stopped:  # the run was finished already
            held_out_loss = trainer.evaluate(held_out)
    model.eval()
    return TrainResult(step, step == config.steps, checkpoint_folder(run_folder, step), held_out_loss)


def _find_open(run_folder: Path, config: TrainConfig, step: int) -> frozenset[str]:
    """Settings of the run's length, if no learning rate up to `step` depended on them."""
    path = run_folder / RECORD
    begun = read_json(path).get("train") if path.exists() else None
    if not isinstance(begun, dict) or begun.get("schedule") != config.schedule:
        return frozenset()
    lengths = ((begun.get("steps"), begun.get("decay_steps")), (config.steps, config.decay_steps))
    open_in_both = all(
        isinstance(steps, int)
        and isinstance(decay_steps, int)
        and is_before_fall(step, schedule=config.schedule, steps=steps, decay_steps=decay_steps)
        for steps, decay_steps in lengths
    )
    return frozenset({"steps", "decay_steps"}) if open_in_both else frozenset()


@dataclass(frozen=True)
class _Share:
    """One process's part of a global batch: its micro-batches with their numbers, and the tokens of the whole."""

    micro_batches: tuple[tuple[int, Batch], ...]
    tokens: int


class _Trainer:
    """All that changes from step to step but the data's position."""

    def __init__(self, model: Decoder, objective: Objective, config: TrainConfig, processes: Processes) -> None:
        if config.batch_rows % (config.micro_batch_rows * processes.count):
            raise InputError(
                f"train config: batch_rows ({config.batch_rows}) must be a multiple of micro_batch_rows "
                f"({config.micro_batch_rows}) times {processes.count} processes"
            )
        self._objective, self._config, self._processes = objective, config, processes
        self._frozen = {name: value for name, value in model.named_parameters() if not value.requires_grad}
        self._frozen_hash = hash_tensors(self._frozen) if self._frozen else ""
        self._model = model.to(processes.device)
        self._parallel = parallelize(model, config.strategy, processes, bf16=config.precision == "bf16")
        # Taken after FSDP2 replaced them; these are the tensors that optimizer, average and checkpoints share.
        self._parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self._optimizers = Optimizers(
            self._parameters,
            config.optimizer,
            weight_decay=config.weight_decay,
            betas=(config.beta1, config.beta2),
            device=processes.device,
        )
        decay = config.average_decay
        self._average = WeightAverage(self._parameters, decay) if decay else None
        self.step = 0

    def describe(self, shards: ShardSet, held_out: ShardSet | None) -> dict[str, Mapping[str, Json]]:
        """What the run is, for `run.json`."""
        return {
            "train": asdict(self._config),
            "model": {**asdict(self._model.config), "frozen": self._frozen_hash},
            "data": {"train": shards.digest, "held_out": held_out.digest if held_out else None},
        }

    def shares(
        self, shards: ShardSet, position: DataPosition, *, epochs: int | None = None
    ) -> Iterator[tuple[_Share, DataPosition]]:
        """This process's shares of the global batches from `position` on, each with the position behind it."""
        config, processes = self._config, self._processes
        packing = Packing(
            config.batch_rows, config.sequence_length, shifted=config.shifted, mixed_shards=config.mixed_shards
        )
        rows = config.micro_batch_rows
        own = range(processes.rank, config.batch_rows // rows, processes.count)
        for layout, after in Packer(shards, packing).layouts(position, epochs=epochs):
            built = tuple((number, layout.build(number * rows, (number + 1) * rows)) for number in own)
            yield _Share(built, layout.tokens), after

    def update(self, share: _Share, *, stop_asked: bool) -> StepReport:
        """Take one step, of whose global batch this process computes `share`."""
        self.step += 1
        config, processes = self._config, self._processes
        rate = config.learning_rate * learning_rate_factor(
            self.step,
            schedule=config.schedule,
            steps=config.steps,
            warmup_steps=config.warmup_steps,
            decay_steps=config.decay_steps,
            final_factor=config.final_factor,
        )
        self._parallel.train()
        totals = torch.zeros(3, dtype=torch.float64, device=processes.device)
        last, _ = share.micro_batches[-1]
        for number, micro_batch in share.micro_batches:
            with sync_gradients(self._parallel, now=number == last):
                loss, weight = self._score(micro_batch, (self.step, number))
                loss.backward()  # type: ignore[no-untyped-call]
            totals[0] += loss.detach()
            totals[1] += weight
        totals[2] += stop_asked
        # The one point at which host and device meet in a step: the total weight scales the gradient.
        loss_sum, weight_sum, stop_votes = processes.sum(totals).tolist()
        norm = self._apply_gradients(loss_sum, weight_sum, rate)
        return StepReport(
            loss=loss_sum / weight_sum,
            targets=weight_sum,
            tokens=share.tokens,
            gradient_norm=norm,
            learning_rate=rate,
            stop_asked=stop_votes > 0,
        )

    def _apply_gradients(self, loss_sum: float, weight_sum: float, rate: float) -> float:
        if weight_sum <= 0.0:
            raise InputError(f"step {self.step}: the batch has no targets; look at the shards' loss masks")
        gradients = [value.grad for value in self._parameters.values() if value.grad is not None]
        torch._foreach_mul_(gradients, self._processes.count / weight_sum)  # DDP and FSDP2 have averaged over processes
        norm = gather(nn.utils.clip_grad_norm_(self._parameters.values(), self._config.clip_norm)).item()
        if not (math.isfinite(loss_sum) and math.isfinite(norm)):
            figures = f"loss {loss_sum / weight_sum}, gradient norm {norm}"
            raise DivergedError(f"step {self.step}: {figures}; a lower learning rate may help")
        self._optimizers.step(rate)
        if self._average is not None:
            self._average.update(self.step)
        return norm

    @torch.no_grad()
    def evaluate(self, held_out: ShardSet) -> float:
        """Mean loss per target over `held_out`, with the averaged weights when there are such; every time the same."""
        self._parallel.eval()
        totals = torch.zeros(2, dtype=torch.float64, device=self._processes.device)
        with self._averaged():
            shares = read_ahead(self.shares(held_out, DataPosition(seed=0), epochs=1))
            for index, (share, _) in enumerate(islice(shares, self._config.evaluation_batches or None)):
                for number, micro_batch in share.micro_batches:
                    loss, weight = self._score(micro_batch, (0, index * self._config.batch_rows + number))
                    totals[0] += loss
                    totals[1] += weight
        loss_sum, weight_sum = self._processes.sum(totals).tolist()
        if weight_sum <= 0.0:
            raise InputError("evaluation: the held-out shards have no targets")
        return cast(float, loss_sum / weight_sum)

    @torch.no_grad()
    def ask(self, watch: Watch) -> Mapping[str, float]:
        """What `watch` says, in the process whose diary it is for."""
        if not self._processes.is_first or _is_spread(self._config, self._processes):
            return {}
        self._model.eval()
        with self._averaged():
            return watch(self._model)

    def _averaged(self) -> AbstractContextManager[None]:
        return self._average.in_place_of_weights() if self._average is not None else nullcontext()

    def save(self, run_folder: Path, position: DataPosition) -> None:
        """Write a checkpoint of the present step, whole whatever the number of processes."""
        parts = {
            "model": self._gather(self._parameters),
            "optimizer": self._gather(self._optimizers.tensors()),
        }
        if self._average is not None:
            parts["average"] = self._gather(self._average.tensors)
        if self._processes.is_first:
            kind = "adapted-decoder" if self._frozen else "decoder"
            metadata: dict[str, Json] = {"step": self.step, "position": asdict(position)}
            checkpoint = Checkpoint(kind, asdict(self._model.config), metadata, parts)
            write_checkpoint(checkpoint_folder(run_folder, self.step), checkpoint)
            prune_checkpoints(run_folder, self._config.keep_checkpoints)
        self._processes.any(False)  # nobody goes on, or leaves, before it is on disk

    @torch.no_grad()
    def restore(self, folder: Path) -> DataPosition:
        """Take over a checkpoint's state; say where its data stood."""
        checkpoint = read_checkpoint(folder)
        for name, parameter in self._parameters.items():
            parameter.copy_(shard_like(checkpoint.parts["model"][name], parameter))
            if self._average is not None:
                self._average.tensors[name].copy_(shard_like(checkpoint.parts["average"][name], parameter))
        self._optimizers.load_tensors(checkpoint.parts["optimizer"], str(folder))
        self.step = cast(int, checkpoint.metadata["step"])
        return parse_settings(
            DataPosition, cast(Mapping[str, Json], checkpoint.metadata["position"]), f"{folder}: position"
        )

    def _gather(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whole tensors on the first process, nothing on the others."""
        wholes = {}
        for name, tensor in tensors.items():
            whole = gather(tensor)
            if self._processes.is_first:
                wholes[name] = whole
        return wholes

    def _score(self, micro_batch: Batch, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Sum of losses and of weights, with chance that depends on the seed and `key` alone."""
        seed = int(np.random.SeedSequence([self._config.seed, *key]).generate_state(1, np.uint64)[0] >> np.uint64(1))
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        device, bf16 = self._processes.device.type, self._config.precision == "bf16"
        with torch.autocast(device, dtype=torch.bfloat16, enabled=bf16):
            return self._objective(self._parallel, micro_batch.to(self._processes.device), generator)


def _may_compile(model: Decoder, config: TrainConfig, processes: Processes) -> bool:
    """Compiled blocks are for long runs; under FSDP2 weights are not where compiled code expects them."""
    tokens = config.steps * config.batch_rows * config.sequence_length
    return not _is_spread(config, processes) and compilation.is_worthwhile(model, tokens, processes.device)


def _is_spread(config: TrainConfig, processes: Processes) -> bool:
    """Whether each process holds a part of the model only."""
    return processes.count > 1 and config.strategy == "fsdp"


@contextmanager
def _own_chance(device: torch.device) -> Iterator[None]:
    """Leave the caller's global random state as it was: dropout knows no other, and the loop seeds it."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
