"""Scores of known predictions on 2,800 rows of ChEBI-20's test split, beside figures found by other programs.

The last three of a caption's figures, on its relations, are those of the second reader in golden/regenerate.py.

CHEBI20_DIR names a folder with `test.tsv`, `train_partial.tsv`, `validation.tsv` and the predictions that the authors
of MolT5 released, as tables `predictions_molt5-base.tsv` and `predictions_molt5-large.tsv`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import bm25s
import pytest
from rdkit import Chem, DataStructs, rdBase
from rdkit.Chem import rdFingerprintGenerator

from molregpt.data.table import read_pairs
from molregpt.metrics.captions import CAPTION_METRICS, score_captions
from molregpt.metrics.molecules import MOLECULE_METRICS, score_molecules
from molregpt.metrics.score_file import score_file
from molregpt.records import Direction, Pair

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("CHEBI20_DIR" not in os.environ, reason="CHEBI20_DIR does not name the ChEBI-20 tables"),
]

CAPTIONS = {
    "molt5-base": (0.548, 0.461, 0.631, 0.481, 0.574, 0.571, 0.345, 0.329, 0.337),
    "molt5-large": (0.590, 0.504, 0.653, 0.508, 0.593, 0.614, 0.393, 0.408, 0.400),
}
NEAREST_CAPTION = (0.485, 0.389, 0.566, 0.399, 0.502, 0.508, 0.270, 0.266, 0.268)
MOLECULES = {
    "molt5-base": (0.779, 0.081, 25.6, 0.787, 0.658, 0.601, 0.782),
    "molt5-large": (0.852, 0.315, 16.5, 0.888, 0.804, 0.747, 0.960),
}
NEAREST_MOLECULE = (0.734, 0.0007, 32.4, 0.726, 0.614, 0.491, 1.0)
MOLECULE_TOLERANCES = (0.002, 0.002, 0.05, 0.01, 0.01, 0.01, 0.002)


def folder() -> Path:
    return Path(os.environ["CHEBI20_DIR"])


def pool() -> list[Pair]:
    return [pair for name in ("train_partial", "validation") for pair in read_pairs(folder() / f"{name}.tsv")]


def score_released(direction: Direction, model: str, out: Path) -> dict[str, float]:
    scores = score_file(direction, folder() / "test.tsv", folder() / f"predictions_{model}.tsv", out)
    assert len(scores.rows) == 2800
    return {name: score.value for name, score in scores.metrics().items()}


@pytest.mark.parametrize("model", CAPTIONS)
def test_captions_of_molt5(model: str, tmp_path: Path) -> None:
    found = score_released("mol2cap", model, tmp_path)
    assert found == pytest.approx(dict(zip(CAPTION_METRICS, CAPTIONS[model], strict=True)), abs=0.002)


@pytest.mark.parametrize("model", MOLECULES)
def test_molecules_of_molt5(model: str, tmp_path: Path) -> None:
    found = score_released("cap2mol", model, tmp_path)
    for name, expected, tolerance in zip(MOLECULE_METRICS, MOLECULES[model], MOLECULE_TOLERANCES, strict=True):
        assert found[name] == pytest.approx(expected, abs=tolerance), name


def test_captions_of_the_nearest_molecules() -> None:
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    known, asked = pool(), read_pairs(folder() / "test.tsv")
    with rdBase.BlockLogs():
        fingerprints = [generator.GetFingerprint(Chem.MolFromSmiles(pair.smiles)) for pair in known]
        queries = [generator.GetFingerprint(Chem.MolFromSmiles(pair.smiles)) for pair in asked]
    copied = []
    for query in queries:
        similarities = DataStructs.BulkDiceSimilarity(query, fingerprints)
        copied.append(known[similarities.index(max(similarities))].caption)
    scores = score_captions(copied, [pair.caption for pair in asked]).metrics()
    expected = dict(zip(CAPTION_METRICS, NEAREST_CAPTION, strict=True))
    assert {name: score.value for name, score in scores.items()} == pytest.approx(expected, abs=0.002)


def test_molecules_of_the_nearest_captions() -> None:
    known, asked = pool(), read_pairs(folder() / "test.tsv")
    words = [[re.findall(r"\w+|[^\w\s]", pair.caption.lower()) for pair in pairs] for pairs in (known, asked)]
    index = bm25s.BM25()
    index.index(words[0], show_progress=False)
    nearest, _ = index.retrieve(words[1], k=1, show_progress=False)
    scores = score_molecules([known[row].smiles for row in nearest[:, 0]], [pair.smiles for pair in asked]).metrics()
    # The figures were found with BM25 on words of another, unknown cut, which moves the strings' distance by 0.4.
    tolerances = (0.002, 0.001, 0.5, *MOLECULE_TOLERANCES[3:])
    for name, expected, tolerance in zip(MOLECULE_METRICS, NEAREST_MOLECULE, tolerances, strict=True):
        assert scores[name].value == pytest.approx(expected, abs=tolerance), name
