"""One progress bar for every long loop of this library, on stderr."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Item = TypeVar("Item")


def track(items: Iterable[Item], label: str, *, shown: bool) -> Iterator[Item]:
    """Pass items on; when shown, with a bar (its total known when `items` has a length) that vanishes at the end."""
    if not shown:
        yield from items
        return
    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=len(items) if isinstance(items, Sized) else None)
        for item in items:
            yield item
            progress.advance(task)
