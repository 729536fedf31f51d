"""Molecule scores against golden values computed by other means, and ten pairs that part the two modes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from molregpt.data.shipped import sample_pairs
from molregpt.data.table import read_table
from molregpt.errors import InputError
from molregpt.metrics.molecules import MOLECULE_METRICS, Mode, score_molecules

GOLDEN = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class Case:
    """A pair and what each mode makes of it: (valid, exact, compared by fingerprint)."""

    prediction: str
    reference: str
    strict: tuple[bool, bool, bool]
    paper: tuple[bool, bool, bool]


CASES = (
    Case("CCO", "CCO", (True, True, True), (True, True, True)),
    Case("OCC", "CCO", (True, True, True), (True, True, True)),  # another way to write it
    Case("CCN", "CCO", (True, False, True), (True, False, True)),
    Case("C1CC", "CCO", (False, False, False), (False, False, False)),  # a ring that never closes
    Case("CC(C)(C)(C)C", "CCO", (False, False, False), (False, False, False)),  # a carbon with five bonds
    Case("", "CCO", (False, False, False), (True, False, True)),  # RDKit: a molecule without atoms
    Case("CCO ethanol", "CCO", (False, False, False), (True, True, True)),  # RDKit: a molecule with a name
    Case("*C", "C*", (True, True, True), (True, True, True)),  # no InChI, the same molecule
    Case("*CC", "C*", (True, False, True), (True, True, True)),  # no InChI, another molecule
    Case("CCO", "C1CC", (True, False, False), (True, False, False)),  # the reference is broken
)


@pytest.mark.parametrize("mode", ["strict", "paper"])
def test_each_hand_made_pair(mode: Mode) -> None:
    scores = score_molecules([c.prediction for c in CASES], [c.reference for c in CASES], mode=mode)
    found = [(row.valid, row.exact, row.morgan is not None) for row in scores.rows]
    assert found == [getattr(case, mode) for case in CASES]
    assert [row.reference_valid for row in scores.rows] == [True] * 9 + [False]


def test_strict_mode_counts_each_side_for_itself() -> None:
    scores = score_molecules([c.prediction for c in CASES], [c.reference for c in CASES])
    assert scores.mode == "strict"
    assert (scores.invalid_predictions, scores.invalid_references, scores.without_inchi) == (4, 1, 2)
    assert (scores.validity.value, scores.validity.n) == (0.6, 10)
    assert (scores.exact.value, scores.exact.n) == (pytest.approx(3 / 9), 9)
    assert (scores.maccs.n, scores.maccs_all.n) == (5, 9)
    assert scores.maccs_all.value == pytest.approx(scores.maccs.value * 5 / 9)
    assert (scores.levenshtein.n, scores.bleu.n) == (10, 10)


def test_paper_mode_blames_the_prediction_for_a_broken_reference() -> None:
    scores = score_molecules([c.prediction for c in CASES], [c.reference for c in CASES], mode="paper")
    assert (scores.invalid_predictions, scores.invalid_references, scores.without_inchi) == (2, 1, 3)
    assert (scores.validity.value, scores.validity.n) == (0.7, 10)
    assert (scores.exact.value, scores.exact.n) == (0.5, 10)
    assert (scores.maccs.n, scores.maccs_all.n) == (7, 10)


def golden_molecules() -> tuple[list[str], list[str]]:
    predictions = {row.cells[0]: row.cells[2] for row in read_table(GOLDEN / "predictions.tsv").rows}
    pairs = sample_pairs()
    return [predictions[pair.key] for pair in pairs], [pair.smiles for pair in pairs]


@pytest.mark.parametrize("mode", ["strict", "paper"])
def test_scores_are_the_golden_ones(mode: Mode) -> None:
    scores = score_molecules(*golden_molecules(), mode=mode)
    expected = json.loads((GOLDEN / "scores.json").read_text())["cap2mol"]
    assert {name: score.value for name, score in scores.metrics().items()} == pytest.approx(expected, abs=1e-9)
    assert scores.invalid_predictions == 20
    assert scores.maccs.n == 80
    assert scores.rdk_all.value == pytest.approx(expected["rdk"] * 0.8)


def test_the_form_of_backslashes_changes_nothing() -> None:
    single, doubled = "C/C=C\\C=C\\CO", "C/C=C\\\\C=C\\\\CO"
    expected = score_molecules([single], [doubled])
    assert expected.rows == score_molecules([doubled], [single]).rows
    assert expected.levenshtein.value == 0
    # A lost bond symbol costs two edits: the published form, in which scores are made, has two characters for it.
    assert score_molecules(["C/C=CC=C\\CO"], [single]).levenshtein.value == 2


def test_count_vectors_tell_chain_lengths_apart() -> None:
    # As bit vectors of radius 2 the two are all but equal; the counts of CH2 are not.
    (row,) = score_molecules(["C" * 30], ["C" * 10]).rows
    assert row.morgan == pytest.approx(0.33, abs=0.05)
    assert row.maccs == 1.0


def test_nothing_readable_still_gives_a_score_of_every_metric() -> None:
    scores = score_molecules(["not a molecule", ""], ["CCO", "CC"])
    assert scores.validity.value == 0
    assert (scores.maccs.value, scores.maccs.n) == (0.0, 0)
    summary = json.loads(json.dumps(scores.as_json(), allow_nan=False))
    assert list(summary)[:7] == list(MOLECULE_METRICS)
    assert summary["backslashes"] == "doubled"
    assert set(summary["versions"]) == {"metrics", "rdkit", "Levenshtein"}
    assert scores.rows[0].as_json()["maccs"] is None


def test_unequal_lengths_and_no_rows_are_refused() -> None:
    with pytest.raises(InputError, match="1 predictions for 2 references"):
        score_molecules(["C"], ["C", "C"])
    with pytest.raises(InputError, match="no rows"):
        score_molecules([], [])
