"""Settings of an evaluation: light to import, checked when made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from molregpt.errors import InputError
from molregpt.retrieval.strategies import StrategyName


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """How a run is made.

    Attributes:
        pool: Tables to retrieve from (CID, SMILES, description); give the option again for more. The shipped pool by
            default.
        strategy: How examples are searched; `learned` by default. MolReGPT's own are `morgan` and `bm25`.
        shots: Examples shown with each question.
        retrieval_seed: Seed of the strategy `random`.
        limit: Ask only the first rows of the test table; 0 asks all.
    """

    pool: tuple[Path, ...] = ()
    strategy: StrategyName | None = None
    shots: int = 10
    retrieval_seed: int = 0
    limit: int = 0

    def __post_init__(self) -> None:
        if self.shots < 0 or self.limit < 0:
            raise InputError(f"shots and limit must not be negative, got {self.shots} and {self.limit}")
