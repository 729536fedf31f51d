"""How far speaking is: a bar where somebody watches, a line a minute where the output goes to a file."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_LINE_EVERY_S = 60.0


class SpeakingProgress:
    """Counts what is spoken; used as a context.

    Attributes:
        spoken: Utterances of this run.
        spoken_s: How long they last, in seconds.
    """

    def __init__(self, total: int, done: int) -> None:
        """Begin: of `total` rows, earlier runs have `done`."""
        self.spoken = 0
        self.spoken_s = 0.0
        self._worked_s = 0.0
        self._total, self._done = total, done
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("speaking"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[heard]}"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task("speaking", total=total, completed=done, heard="")
        self._next_line = monotonic() + _LINE_EVERY_S

    @property
    def rtf(self) -> float:
        """Processor seconds of the workers for a second of speech; 0 before anything is spoken."""
        return self._worked_s / self.spoken_s if self.spoken_s else 0.0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def count(self, spoken: int, spoken_s: float, worked_s: float) -> None:
        """Count one row: utterances, how long they last, and the processor seconds that a worker took."""
        self.spoken += spoken
        self.spoken_s += spoken_s
        self._worked_s += worked_s
        self._done += 1
        heard = f"{self.spoken_s / 3600:.2f} h, {self.rtf:.2f} processor seconds a second"
        self._progress.update(self._task, advance=1, heard=heard)
        if not self._console.is_terminal and monotonic() >= self._next_line:
            self._next_line = monotonic() + _LINE_EVERY_S
            self._console.print(f"{self._done:,} of {self._total:,} rows, {heard}", highlight=False)
