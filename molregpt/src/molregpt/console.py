"""The two streams of a command: results on stdout, everything else on stderr."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@cache
def messages() -> Console:
    """Where progress, notes and errors go."""
    from rich.console import Console

    return Console(stderr=True)
