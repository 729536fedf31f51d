"""The run's diary: `metrics.jsonl`, one line a report, and the same figures for TensorBoard."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from unitlm.errors import InputError
from unitlm.files import write_text

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FILE = "metrics.jsonl"


def read_metrics(run_folder: Path) -> list[dict[str, float]]:
    """Read what a run has reported so far; the line that a killed run left unfinished does not count.

    Raises:
        InputError: A line other than the last is broken.
    """
    path = run_folder / FILE
    if not path.exists():
        return []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error})") from error
    rows = []
    for number, line in enumerate(lines[:-1], start=1):  # what follows the last newline was never finished
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: line {number} is not JSON ({error})") from error
        if not isinstance(row, dict) or not isinstance(row.get("step"), int):
            raise InputError(f"{path}: line {number} is not a report of a step")
        rows.append(row)
    return rows


class MetricsLog:
    """Appends reports to a run folder's diary."""

    def __init__(self, run_folder: Path, *, step: int, tensorboard: bool) -> None:
        """Continue the diary of a run.

        Args:
            run_folder: Where `metrics.jsonl` and `tensorboard/` lie.
            step: The step the run starts from; reports of later ones are of work that was lost, and go.
            tensorboard: Whether to write for TensorBoard too.
        """
        path = run_folder / FILE
        kept = [row for row in read_metrics(run_folder) if row["step"] <= step]
        write_text(path, "".join(json.dumps(row) + "\n" for row in kept))
        self._stream = path.open("a", encoding="utf-8")
        self._board: SummaryWriter | None = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter  # costs a second, so only when wanted

            self._board = SummaryWriter(run_folder / "tensorboard", purge_step=step + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Report `values` of `step`.

        Raises:
            InputError: The disk is full.
        """
        try:
            # JSON has no NaN; what is not a number is left out.
            finite = {name: value for name, value in values.items() if math.isfinite(value)}
            self._stream.write(json.dumps({"step": step, **finite}) + "\n")
            self._stream.flush()
        except OSError as error:
            raise InputError(f"{self._stream.name}: cannot be written ({error.strerror})") from error
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close both."""
        self._stream.close()
        if self._board is not None:
            self._board.close()
