"""What a thread makes one by one, for a coroutine to take one by one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Executor
from typing import TypeVar

Made = TypeVar("Made")


async def iterate_in_thread(executor: Executor, make: Callable[[], Iterator[Made]]) -> AsyncGenerator[Made, None]:
    """Run an iterator in a thread of `executor`, and pass on what it makes.

    What the iterator raises is raised here. When nobody listens any more (`aclose`, or the task is cancelled), work
    that has not begun is dropped, and work that has begun stops at its next value.
    """
    loop = asyncio.get_running_loop()
    values: asyncio.Queue[tuple[Made] | None] = asyncio.Queue()  # in tuples, so that None may be a value
    abandoned = threading.Event()

    def work() -> None:
        try:
            for value in make():
                if abandoned.is_set():
                    return
                loop.call_soon_threadsafe(values.put_nowait, (value,))
        finally:
            # The loop may be closed when it is a second signal that ended the server.
            if not loop.is_closed():
                loop.call_soon_threadsafe(values.put_nowait, None)

    task = executor.submit(work)
    try:
        while (held := await values.get()) is not None:
            yield held[0]
        await asyncio.wrap_future(task)
    finally:
        abandoned.set()
        task.cancel()
