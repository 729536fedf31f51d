"""The progress of a run on stderr: rows, time left, money spent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from molregpt.console import messages
from molregpt.records import Usage

if TYPE_CHECKING:
    from types import TracebackType

    from molregpt.evaluation.rows import EvaluatedRow


class RunProgress:
    """Shows how far a run is; used as a context, called with each new row."""

    def __init__(self, description: str, total: int, done: int) -> None:
        """Begin.

        Args:
            description: What is being done.
            total: Rows in all.
            done: Rows that an earlier run has answered.
        """
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._usage = Usage()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[spent]}"),
            console=messages(),
        )
        self._task = self._progress.add_task(description, total=total, completed=done, spent="")

    def __enter__(self) -> RunProgress:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, row: EvaluatedRow) -> None:
        """Count one row."""
        self._usage = self._usage + row.answer.usage
        tokens = self._usage.prompt_tokens + self._usage.completion_tokens
        spent = f"{tokens:,} tokens" if tokens else ""
        if self._usage.cost:
            spent += f", cost {self._usage.cost:.4f}"
        self._progress.update(self._task, advance=1, spent=spent)
