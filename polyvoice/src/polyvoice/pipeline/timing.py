"""How long each stage takes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Stopwatch:
    """Adds up the seconds of named stages.

    Attributes:
        seconds: by stage, in the order in which they first ran.
    """

    def __init__(self) -> None:
        """Nothing has run yet."""
        self.seconds: dict[str, float] = {}

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Add what the block takes to `stage`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.add({stage: time.perf_counter() - began})

    def add(self, seconds: Mapping[str, float]) -> None:
        """Add the seconds of several stages."""
        for stage, value in seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + value
