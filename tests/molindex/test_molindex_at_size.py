"""The promise of exactness on whole data sets; skipped where they are not at hand."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from molindex.molecules import MoleculeIndex
from molindex.neighbours import Neighbour
from molindex.tables import Columns, Row, read_rows


def assert_equal_to_rdkit(index: MoleculeIndex, picked: list[int], unpack, oracle) -> None:
    codes = np.empty_like(index._fingerprints.codes)
    codes[index._fingerprints.rows] = index._fingerprints.codes
    vectors = unpack(codes)
    for metric in ("dice", "tanimoto"):
        for number in picked:
            key = index.keys[number]
            rows, similarities = oracle(vectors[number], vectors, 101, metric)
            expected = [Neighbour(row, index.keys[row], s) for row, s in zip(rows, similarities, strict=True)]
            query = codes[number : number + 1]
            assert index.search_packed(query, 100, metric=metric)[0] == expected[:100]
            without = [hit for hit in expected if hit.key != key][:10]
            assert index.search_packed(query, 10, metric=metric, exclude=[[key]])[0] == without


def test_all_train_molecules_of_chebi20(chebi20, tmp_path, unpack, oracle):
    index = MoleculeIndex.from_table(chebi20 / "train_smiles.tsv.gz", rejects=tmp_path / "rejected.tsv")
    assert len(index) == 26_409
    assert not (tmp_path / "rejected.tsv").exists()
    assert_equal_to_rdkit(index, list(range(0, 26_409, 663)), unpack, oracle)


@pytest.mark.slow
def test_a_hundred_thousand_molecules_of_moses(unpack, oracle):
    package = find_spec("moses")  # found, not imported: it would want torch
    if package is None or not package.submodule_search_locations:
        pytest.skip("molsets is not installed")
    table = Path(package.submodule_search_locations[0]) / "dataset" / "data" / "train.csv.gz"
    rows = islice((row for row in read_rows(table, Columns(key="", text="")) if isinstance(row, Row)), 100_000)
    index = MoleculeIndex.build((row.key, row.smiles) for row in rows)
    assert len(index) == 100_000
    assert_equal_to_rdkit(index, list(range(0, 100_000, 4_999)), unpack, oracle)
