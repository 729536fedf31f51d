"""What a training run tells: a progress line on stderr and the run's diary."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from unitlm.metrics import MetricsLog
from unitlm.train_config import TrainConfig


@dataclass(frozen=True)
class StepReport:
    """What one step did: mean loss per target, gradient norm before clipping, and whether anyone wants to stop."""

    loss: float
    targets: float
    tokens: int
    gradient_norm: float
    learning_rate: float
    stop_asked: bool


class Reporter:
    """Reports from the first process: a progress line on stderr and the run's diary."""

    def __init__(self, run_folder: Path, config: TrainConfig, step: int, *, enabled: bool) -> None:
        self._log = MetricsLog(run_folder, step=step, tensorboard=config.tensorboard) if enabled else None
        self._progress = Progress(
            TextColumn("train"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=self._log is None,
        )
        self._task = self._progress.add_task("", total=config.steps, completed=step)
        self._tokens, self._since = 0, time.perf_counter()

    def update(self, step: int, epoch: int, report: StepReport, *, write: bool) -> None:
        """Show that `step` is done, and `write` its figures down."""
        self._tokens += report.tokens
        self._progress.update(self._task, completed=step)
        if self._log is None or not write:
            return
        now = time.perf_counter()
        speed = self._tokens / (now - self._since)
        self._tokens, self._since = 0, now
        values = {
            "loss": report.loss,
            "learning_rate": report.learning_rate,
            "gradient_norm": report.gradient_norm,
            "targets": report.targets,
            "epoch": epoch,
            "tokens_per_s": speed,
        }
        self._log.write(step, values)
        self._progress.update(self._task, description=f"loss {report.loss:.4f}, {speed:,.0f} tokens/s")

    def evaluated(self, step: int, loss: float, figures: Mapping[str, float]) -> None:
        """Write down an evaluation, and what else was found out."""
        if self._log is not None:
            self._log.write(step, {"held_out_loss": loss, **figures})

    def __enter__(self) -> Reporter:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        if self._log is not None:
            self._log.close()
