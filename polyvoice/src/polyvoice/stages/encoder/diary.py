"""What the training of an encoder tells: a progress line on stderr and the run's metrics.jsonl."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from unitlm.metrics import MetricsLog


@dataclass(frozen=True)
class StepReport:
    """What one step did.

    Attributes:
        loss: weighted mean over frames and sets of labels, in nats.
        masked_accuracy: share of hidden frames whose label was named right.
        heard_accuracy: the same for frames that were not hidden.
        gradient_norm: before clipping.
        learning_rate: of this step.
        sound_s: seconds of sound in the batch.
    """

    loss: float
    masked_accuracy: float
    heard_accuracy: float
    gradient_norm: float
    learning_rate: float
    sound_s: float


@dataclass(frozen=True)
class Evaluation:
    """How well the labels of held-out utterances are predicted, from unchanged sound.

    Attributes:
        loss: weighted mean, in nats.
        masked_accuracy: share of hidden frames whose label is named right.
        heard_accuracy: the same for frames that are not hidden.
    """

    loss: float
    masked_accuracy: float
    heard_accuracy: float


class Diary:
    """Reports a run; a context manager, within which the progress line is shown."""

    def __init__(self, run_folder: Path, steps: int, step: int) -> None:
        """Go on with the diary of a run.

        Args:
            run_folder: where `metrics.jsonl` and `tensorboard/` lie.
            steps: of the whole run.
            step: the last one that was taken.
        """
        self._log = MetricsLog(run_folder, step=step, tensorboard=True)
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("train"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=steps, completed=step)
        self._sound_s, self._since = 0.0, time.perf_counter()

    def stepped(self, step: int, report: StepReport, *, write: bool) -> None:
        """Show that `step` is done, and `write` its figures down."""
        self._sound_s += report.sound_s
        self._progress.update(self._task, completed=step)
        if not write:
            return
        now = time.perf_counter()
        speed = self._sound_s / (now - self._since)
        self._sound_s, self._since = 0.0, now
        self._log.write(step, {**asdict(report), "times_real_time": speed})
        accuracy = f"{report.masked_accuracy:.1%} of hidden, {report.heard_accuracy:.1%} of heard frames"
        self._progress.update(
            self._task, description=f"loss {report.loss:.3f}, {accuracy}, {speed:.0f} times real time"
        )

    def evaluated(self, step: int, evaluation: Evaluation) -> None:
        """Write down an evaluation."""
        self._log.write(step, {f"held_out_{name}": value for name, value in asdict(evaluation).items()})

    def __enter__(self) -> Diary:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        self._log.close()
