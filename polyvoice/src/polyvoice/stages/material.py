"""Pairs on their way into a stage's shards; light to import, since what decodes shares it with what trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polyvoice.spoken import SpokenPair


@dataclass(frozen=True)
class Material:
    """What a stage's own preparation makes shards of.

    Attributes:
        pairs: to learn, each in every direction that is learned.
        held_out: to watch, likewise; may be empty.
        languages: in the order of their condition ids.
        provenance: names everything that the shards depend on.
    """

    pairs: Sequence[SpokenPair]
    held_out: Sequence[SpokenPair]
    languages: tuple[str, ...]
    provenance: str
