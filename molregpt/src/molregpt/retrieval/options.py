"""Settings of a search: light to import, for command lines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from molregpt.retrieval.strategies import StrategyName


@dataclass(frozen=True, slots=True)
class RetrievalOptions:
    """Where examples come from.

    Attributes:
        pool: Tables to search (CID, SMILES, description); give the option again for more. The shipped pool of 8,612
            ChEBI-20 pairs by default.
        strategy: How they are searched; by default `learned` where an answer is wanted; `retrieve` shows what Morgan
            fingerprints or BM25 find.
        exclude_self: Do not find the very molecule, or the very description, that is asked about.
        retrieval_seed: Seed of the strategy `random`.
    """

    pool: tuple[Path, ...] = ()
    strategy: StrategyName | None = None
    exclude_self: bool = False
    retrieval_seed: int = 0
