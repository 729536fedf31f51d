"""Data and the slow, obviously right search that the fast one is compared with."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from rdkit import DataStructs

from molindex.tables import Row, read_rows

SAMPLE = Path(__file__).parent / "data" / "chebi20_sample.tsv"

Oracle = Callable[..., tuple[list[int], list[float]]]


@pytest.fixture(scope="session")
def sample_path() -> Path:
    """194 rows of ChEBI-20, in the published form."""
    return SAMPLE


@pytest.fixture(scope="session")
def sample() -> list[Row]:
    rows = list(read_rows(SAMPLE))
    assert all(isinstance(row, Row) for row in rows)
    return rows  # type: ignore[return-value]


@pytest.fixture(scope="session")
def chebi20() -> Path:
    """The folder of the whole data set, named by the environment."""
    folder = os.environ.get("CHEBI20_DIR")
    if not folder or not (Path(folder) / "train_smiles.tsv.gz").exists():
        pytest.skip("CHEBI20_DIR does not name a folder with train_smiles.tsv.gz")
    return Path(folder)


@pytest.fixture(scope="session")
def unpack() -> Callable[[NDArray[np.uint8]], list[DataStructs.ExplicitBitVect]]:
    """Packed fingerprints back as RDKit's own."""
    return lambda codes: [DataStructs.CreateFromBinaryText(code.tobytes()) for code in codes]


@pytest.fixture(scope="session")
def oracle() -> Oracle:
    """RDKit's bulk similarity to every vector, sorted whole: (rows, similarities)."""

    def search(
        query: DataStructs.ExplicitBitVect,
        vectors: Sequence[DataStructs.ExplicitBitVect],
        k: int,
        metric: str,
        floor: float = 0.0,
        exclude: Sequence[int] = (),
    ) -> tuple[list[int], list[float]]:
        bulk = DataStructs.BulkDiceSimilarity if metric == "dice" else DataStructs.BulkTanimotoSimilarity
        similarities = np.array(bulk(query, vectors))
        order = np.lexsort((np.arange(len(vectors)), -similarities))
        kept = [int(row) for row in order if similarities[row] >= floor and row not in set(exclude)][:k]
        return kept, [float(similarities[row]) for row in kept]

    return search
