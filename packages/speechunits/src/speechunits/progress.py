"""One progress bar on stderr, where somebody is looking."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def show_progress(what: str, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show a bar while a long work runs; nothing is drawn where stderr is no terminal.

    Args:
        what: is being done.
        total: steps in all.
        done: steps that an earlier run has done.

    Yields:
        A function that counts more steps as done.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total, completed=done)
        yield lambda steps: bar.advance(task, steps)
