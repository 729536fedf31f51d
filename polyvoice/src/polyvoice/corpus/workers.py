"""Processes that work through the rows of a corpus, and a folder that knows the settings it was begun with."""

from __future__ import annotations

import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from polyvoice.errors import InputError
from speechunits.files import write_atomically
from speechunits.progress import show_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

Item = TypeVar("Item")
Result = TypeVar("Result")

# Items that a worker gets at once.
_CHUNK = 8


@contextmanager
def open_pool(
    workers: int, prepare: Callable[..., None] | None = None, arguments: tuple[object, ...] = ()
) -> Iterator[ProcessPoolExecutor]:
    """Start processes that end with this one, however it ends; an error cancels what they have not begun.

    All are forked on entry, where the system forks: open files and their locks after that, or the workers hold them.

    Args:
        workers: How many.
        prepare: Runs first in each worker; must not fail. None where workers need nothing but what they are given.
        arguments: What it is called with.
    """
    with ProcessPoolExecutor(workers, initializer=_start_worker, initargs=(prepare, arguments)) as pool:
        try:
            pool.submit(os.getpid).result()
            yield pool
        except BaseException:
            # Else an interrupted run would first do all the rest, which nobody would then write.
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def work_through(
    pool: ProcessPoolExecutor, doing: str, work: Callable[[Item], Result], items: Collection[Item]
) -> Iterator[Result]:
    """What work gives for each item, in their order, under a progress bar.

    Args:
        pool: Of `open_pool`.
        doing: Stands beside the bar.
        work: Runs in a worker, so that it is a function of a module.
        items: Are sent to workers.
    """
    with show_progress(doing, len(items)) as advance:
        for result in pool.map(work, items, chunksize=_CHUNK):
            yield result
            advance(1)


def claim_folder(folder: Path, name: str, settings: Mapping[str, Any]) -> None:
    """Write settings into a new folder as JSON, or find the same ones in it.

    Args:
        folder: Is created where it is missing.
        name: The file in it.
        settings: Only what JSON can hold.

    Raises:
        InputError: The folder cannot be written, or was begun with other settings.
    """
    path = folder / name
    wanted = json.dumps(settings, indent=2) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            write_atomically(path, wanted.encode())
        found = path.read_bytes()
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror})") from None
    if found != wanted.encode():
        raise InputError(f"{path}: this folder was begun with other settings; go on with those, or in a new folder")


def _start_worker(prepare: Callable[..., None] | None, arguments: tuple[object, ...]) -> None:
    # A worker whose parent was killed would wait for work for ever, with all its memory.
    Thread(target=_exit_with_parent, daemon=True).start()
    if prepare is not None:
        prepare(*arguments)


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
