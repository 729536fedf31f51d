"""The tables inside the package."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from pathlib import Path

import pytest
from rdkit import Chem

from molregpt.data.shipped import sample_pairs, shipped_pairs
from molregpt.data.table import read_pairs


def test_the_shipped_database_is_complete_and_clean() -> None:
    pairs = shipped_pairs()
    counts = Counter(pair.source.split("/")[0] for pair in pairs)
    assert counts == {"train": 5311, "validation": 3301}
    assert len({pair.key for pair in pairs}) == 8612
    assert not any("\\\\" in pair.smiles for pair in pairs)
    assert any("\\" in pair.smiles for pair in pairs)


def test_samples_are_the_smallest_hashes_and_not_in_the_database() -> None:
    samples, pool = sample_pairs(), shipped_pairs()
    hashes = [hashlib.sha256(pair.key.encode()).hexdigest() for pair in samples]
    assert hashes == sorted(hashes)
    assert len(samples) == 100
    assert {pair.key for pair in samples}.isdisjoint(pair.key for pair in pool)
    sampled = {Chem.CanonSmiles(pair.smiles) for pair in samples}
    assert sampled.isdisjoint(Chem.CanonSmiles(pair.smiles) for pair in pool)


@pytest.mark.skipif("CHEBI20_DIR" not in os.environ, reason="CHEBI20_DIR does not name the ChEBI-20 tables")
def test_shipped_tables_are_rows_of_the_published_ones() -> None:
    folder = Path(os.environ["CHEBI20_DIR"])
    shipped = {(pair.key, pair.smiles, pair.caption) for pair in shipped_pairs()}
    published = [*read_pairs(folder / "train_partial.tsv"), *read_pairs(folder / "validation.tsv")]
    assert shipped <= {(pair.key, pair.smiles, pair.caption) for pair in published}
    test = read_pairs(folder / "test.tsv")
    smallest = sorted(test, key=lambda pair: hashlib.sha256(pair.key.encode()).hexdigest())[:100]
    assert [(p.key, p.smiles, p.caption) for p in smallest] == [(p.key, p.smiles, p.caption) for p in sample_pairs()]
