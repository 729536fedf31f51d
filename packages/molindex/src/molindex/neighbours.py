"""What every search returns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One row found.

    Attributes:
        row: Its place in the index, from 0.
        key: Its identifier.
        similarity: Higher is nearer; the scale is the search's own (Dice or Tanimoto: 0 to 1; BM25 and fused ranks:
            comparable within one result only).
    """

    row: int
    key: str
    similarity: float
