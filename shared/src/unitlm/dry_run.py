"""What a training run would cost, before it is begun: one table of parameters, arithmetic, memory and time.

Nothing is made: neither weights nor data are needed. The formulas are in `unitlm.cost`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, get_args

from unitlm.cost import (
    CHINCHILLA_TOKENS,
    Memory,
    Parameters,
    count_parameters,
    estimate_memory,
    training_flops,
    training_seconds,
)
from unitlm.errors import InputError

if TYPE_CHECKING:
    from unitlm.model import ModelConfig
    from unitlm.train_config import TrainConfig

GpuName = Literal["a100-40", "a100-80", "h100", "h200", "l4", "rtx4090"]


@dataclass(frozen=True)
class Gpu:
    """What a data sheet says of a device.

    Attributes:
        tflops: Peak of dense bf16 products added up in float32, 10^12 operations a second.
        gigabytes: Memory, 10^9 bytes.
    """

    tflops: float
    gigabytes: float


# NVIDIA's data sheets; where they count "with sparsity", half of that.
GPUS: Mapping[GpuName, Gpu] = {
    "a100-40": Gpu(312, 40),
    "a100-80": Gpu(312, 80),
    "h100": Gpu(989, 80),
    "h200": Gpu(989, 141),
    "l4": Gpu(121, 24),
    "rtx4090": Gpu(165, 24),
}


@dataclass(frozen=True)
class DryRun:
    """Whether to count only, and for which machines.

    Attributes:
        dry_run: Print what the run would cost and do nothing.
        devices: GPUs that share the work.
        gpu: Their kind, for speed and memory.
        device_tflops: Peak speed of one, 10^12 operations a second; the kind's dense bf16 figure when not given.
        utilisation: The part of the peak that training reaches.

    Raises:
        InputError: A value is out of range.
    """

    dry_run: bool = False
    devices: int = 1
    gpu: GpuName = "h100"
    device_tflops: float | None = None
    utilisation: float = 0.4

    def __post_init__(self) -> None:
        if self.gpu not in get_args(GpuName):
            raise InputError(f"unknown GPU {self.gpu!r}; known are {', '.join(get_args(GpuName))}")
        if self.devices < 1:
            raise InputError(f"devices must be at least 1, got {self.devices}")
        if not 0.0 < self.utilisation <= 1.0:
            raise InputError(f"utilisation must be above 0 and at most 1, got {self.utilisation}")
        if self.device_tflops is not None and not self.device_tflops > 0.0:
            raise InputError(f"device_tflops must be above 0, got {self.device_tflops}")

    @property
    def peak_tflops(self) -> float:
        """Peak speed of one device."""
        return GPUS[self.gpu].tflops if self.device_tflops is None else self.device_tflops


@dataclass(frozen=True)
class Estimate:
    """What a run would cost.

    Attributes:
        name: What is trained.
        model: Its shape.
        config: How it is trained.
        machines: On what.
        parameters: How many there are.
        flops_per_token: Forward and backward.
        tokens: Positions of the whole run.
        memory: Bytes on each device: `ddp`, and `fsdp` over all of them.
        seconds: Of arithmetic at the utilisation assumed; loading, evaluation and checkpoints come on top.
    """

    name: str
    model: ModelConfig
    config: TrainConfig
    machines: DryRun
    parameters: Parameters
    flops_per_token: int
    tokens: int
    memory: Mapping[Literal["ddp", "fsdp"], Memory]
    seconds: float

    @property
    def flops(self) -> int:
        """Of the whole run."""
        return self.flops_per_token * self.tokens

    def as_json(self) -> dict[str, object]:
        """All figures; bytes, seconds and counts, nothing rounded."""
        return {
            "name": self.name,
            "model": asdict(self.model),
            "train": asdict(self.config),
            "machines": {**asdict(self.machines), "peak_tflops": self.machines.peak_tflops},
            "parameters": {**asdict(self.parameters), "total": self.parameters.total},
            "flops_per_token": self.flops_per_token,
            "tokens": self.tokens,
            "flops": self.flops,
            "memory": {name: {**asdict(memory), "total": memory.total} for name, memory in self.memory.items()},
            "seconds": self.seconds,
        }


def estimate_run(
    name: str, model: ModelConfig, config: TrainConfig, machines: DryRun, *, scored_ids: int | None = None
) -> Estimate:
    """Count what a run would cost.

    Args:
        name: What is trained.
        model: Its shape.
        config: How it is trained.
        machines: On what.
        scored_ids: Ids that are scored at a position, where that is not the whole vocabulary.

    Raises:
        InputError: The global batch cannot be divided among the devices.
    """
    if config.batch_rows % (config.micro_batch_rows * machines.devices):
        raise InputError(
            f"dry run: batch_rows ({config.batch_rows}) must be a multiple of micro_batch_rows "
            f"({config.micro_batch_rows}) times {machines.devices} devices"
        )
    flops_per_token = training_flops(model, config.sequence_length, scored_ids=scored_ids)
    tokens = config.steps * config.batch_rows * config.sequence_length

    def memory(*, sharded: bool) -> Memory:
        return estimate_memory(
            model,
            config.micro_batch_rows * config.sequence_length,
            devices=machines.devices,
            sharded=sharded,
            optimizer=config.optimizer,
            averaged=config.average_decay > 0,
            precision=config.precision,
            scored_ids=scored_ids,
        )

    return Estimate(
        name=name,
        model=model,
        config=config,
        machines=machines,
        parameters=count_parameters(model),
        flops_per_token=flops_per_token,
        tokens=tokens,
        memory={"ddp": memory(sharded=False), "fsdp": memory(sharded=True)},
        seconds=training_seconds(
            flops_per_token * tokens,
            devices=machines.devices,
            device_tflops=machines.peak_tflops,
            utilisation=machines.utilisation,
        ),
    )


def print_estimate(estimate: Estimate, *, as_json: bool) -> None:
    """Print an estimate on stdout: a table, or one JSON object."""
    if as_json:
        print(json.dumps(estimate.as_json()))
        return
    from rich.console import Console
    from rich.table import Table

    machines = estimate.machines
    title = f"{estimate.name} on {machines.devices} x {machines.gpu} ({machines.peak_tflops:g} TFLOP/s each)"
    table = Table(title=title, title_justify="left", show_header=False)
    for justify in ("left", "right", "right"):
        table.add_column(justify=justify)
    for line in _run_lines(estimate):
        table.add_row(*line)
    table.add_section()
    for line in _memory_lines(estimate):
        table.add_row(*line)
    # Wide enough where nobody looks, too: a cut figure in a log would be a wrong one.
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 120, highlight=False).print(table)


Line = tuple[str, str, str]


def _run_lines(estimate: Estimate) -> Sequence[Line]:
    model, config, counted = estimate.model, estimate.config, estimate.parameters
    batch = config.batch_rows * config.sequence_length
    hours = estimate.seconds / 3_600
    return (
        ("parameters", f"{counted.total / 1e6:,.1f} M", f"{model.layers} layers of {model.width:,}"),
        ("tokens a step", f"{batch:,}", f"{config.batch_rows} rows of {config.sequence_length:,}"),
        ("tokens in all", f"{estimate.tokens:.3g}", f"{config.steps:,} steps"),
        ("tokens a parameter", f"{estimate.tokens / counted.total:.3g}", f"{CHINCHILLA_TOKENS} use arithmetic best"),
        ("FLOPs a token", f"{estimate.flops_per_token:.3g}", "6 a weight, and attention"),
        ("FLOPs in all", f"{estimate.flops:.3g}", ""),
        ("time", f"{hours:,.1f} h", f"at {estimate.machines.utilisation:.0%} of the peak"),
    )


def _memory_lines(estimate: Estimate) -> Sequence[Line]:
    config, gpu = estimate.config, estimate.machines.gpu
    limit = GPUS[gpu].gigabytes
    ddp, fsdp = estimate.memory["ddp"], estimate.memory["fsdp"]
    named = {
        "weights": "weights",
        "gradients": "gradients",
        f"{config.optimizer}'s memory": "optimizer",
        "averaged weights": "average",
        f"copies in {config.precision}": "copies",
        f"activations of {config.micro_batch_rows} rows": "activations",
        "logits": "logits",
        "in all": "total",
    }

    def gigabytes(memory: Memory, key: str) -> str:
        return f"{getattr(memory, key) / 1e9:,.2f} GB"

    lines = [(name, gigabytes(ddp, key), gigabytes(fsdp, key)) for name, key in named.items()]
    ddp_fits, fsdp_fits = ("yes" if memory.total < limit * 1e9 else "no" for memory in (ddp, fsdp))
    return (
        ("memory of each device", "DDP", f"FSDP2 over {estimate.machines.devices}"),
        *lines,
        (f"fits in {limit:g} GB", ddp_fits, fsdp_fits),
    )
