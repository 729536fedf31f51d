r"""Scores of molecules: BLEU, exact match, Levenshtein distance, validity and three fingerprint similarities.

String scores compare characters. ChEBI-20 publishes every backslash of its SMILES doubled, and every published BLEU and
Levenshtein figure counts them so; here both sides are brought to that form first, whichever form they come in.

Two modes: `paper` repeats the evaluation scripts of MolT5 and MolReGPT, `strict` (the default) does what they mean to.

* A prediction that is empty or holds white space: strict, invalid; paper, whatever RDKit makes of it.
* Validity: strict, readable predictions / rows; paper, rows with both sides readable / rows.
* Exact match: strict, over rows whose reference is readable, and molecules without an InChI are compared by canonical
  SMILES; paper, over all rows, and two molecules without an InChI are equal.

In both, similarities are means over the pairs with both sides readable, and BLEU and Levenshtein distance are over all
rows. Invalid predictions and invalid references are counted apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from molregpt.data.table import single_backslashes
from molregpt.metrics.bleu import bleu_of_sums, count_ngrams
from molregpt.metrics.captions import check_lengths
from molregpt.metrics.statistics import DEFAULT_RESAMPLING, Resampling, Score, library_versions, score_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Mode = Literal["strict", "paper"]
"""See the module's docstring."""

MOLECULE_METRICS = ("bleu", "exact", "levenshtein", "maccs", "rdk", "morgan", "validity")
"""The names that result files use, in the order of the fields of `MoleculeScores`."""

_DISTRIBUTIONS = ("rdkit", "Levenshtein")


@dataclass(frozen=True, slots=True)
class MoleculeRow:
    """Scores of one molecule.

    Attributes:
        bleu: BLEU of this row alone; 0 whenever no n-gram of some length matches.
        exact: Whether it is the reference's molecule.
        levenshtein: Edits between the two strings.
        maccs: Tanimoto similarity of MACCS keys; None unless both sides are readable, like the two below.
        rdk: Tanimoto similarity of RDKit's path fingerprints.
        morgan: Tanimoto similarity of Morgan count vectors of radius 2.
        valid: Whether the prediction is readable.
        reference_valid: Whether the reference is.
    """

    bleu: float
    exact: bool
    levenshtein: int
    maccs: float | None
    rdk: float | None
    morgan: float | None
    valid: bool
    reference_valid: bool

    def as_json(self) -> dict[str, float | bool | None]:
        """The scores by the names that result files use."""
        return {
            "bleu": self.bleu,
            "exact": self.exact,
            "levenshtein": self.levenshtein,
            "maccs": self.maccs,
            "rdk": self.rdk,
            "morgan": self.morgan,
            "validity": self.valid,
            "reference_validity": self.reference_valid,
        }


@dataclass(frozen=True, slots=True)
class MoleculeScores:
    """Scores of a corpus of molecules.

    Attributes:
        bleu: Corpus BLEU-4 on characters.
        exact: Share of predictions that are the reference's molecule, by standard InChI.
        levenshtein: Mean number of edits between the strings.
        maccs: Mean similarity over the pairs with both sides readable, like the two below.
        rdk: The same with RDKit's path fingerprints.
        morgan: The same with Morgan count vectors of radius 2.
        validity: Share of readable predictions.
        maccs_all: `maccs` with 0 for each prediction that is unreadable, so that a system gains nothing by failing
            on hard rows; likewise the two below.
        rdk_all: See `maccs_all`.
        morgan_all: See `maccs_all`.
        invalid_predictions: Predictions that cannot be read.
        invalid_references: References that cannot be read.
        without_inchi: Pairs with both sides readable but no InChI for at least one.
        mode: `strict` or `paper`.
        resampling: How the intervals were made.
        versions: Versions of the metrics and of the libraries.
        rows: The scores of each row.
    """

    bleu: Score
    exact: Score
    levenshtein: Score
    maccs: Score
    rdk: Score
    morgan: Score
    validity: Score
    maccs_all: Score
    rdk_all: Score
    morgan_all: Score
    invalid_predictions: int
    invalid_references: int
    without_inchi: int
    mode: Mode
    resampling: Resampling
    versions: Mapping[str, str]
    rows: tuple[MoleculeRow, ...]

    def metrics(self) -> dict[str, Score]:
        """The scores by the names that result files use."""
        scores = (self.bleu, self.exact, self.levenshtein, self.maccs, self.rdk, self.morgan, self.validity)
        return dict(zip(MOLECULE_METRICS, scores, strict=True))

    def as_json(self) -> dict[str, object]:
        """The contents of a scores.json: one entry a metric, then what the figures depend on."""
        return {name: score.as_json() for name, score in self.metrics().items()} | {
            "all_rows": {
                "maccs": self.maccs_all.as_json(),
                "rdk": self.rdk_all.as_json(),
                "morgan": self.morgan_all.as_json(),
            },
            "rows": len(self.rows),
            "invalid_predictions": self.invalid_predictions,
            "invalid_references": self.invalid_references,
            "without_inchi": self.without_inchi,
            "mode": self.mode,
            "backslashes": "doubled",
            "bootstrap": self.resampling.as_json(),
            "versions": dict(self.versions),
        }


def score_molecules(
    predictions: Sequence[str],
    references: Sequence[str],
    *,
    mode: Mode = "strict",
    resampling: Resampling = DEFAULT_RESAMPLING,
) -> MoleculeScores:
    """Score molecules against one reference each.

    Args:
        predictions: SMILES; text that is none counts as invalid.
        references: The SMILES that is right for each.
        mode: See the module's docstring.
        resampling: How the intervals are made.

    Raises:
        InputError: The lengths differ, or there is no row.
    """
    from rdkit import rdBase

    check_lengths(predictions, references)
    predictions, references = [_scored_form(p) for p in predictions], [_scored_form(r) for r in references]
    ngrams = np.array([count_ngrams(p, r) for p, r in zip(predictions, references, strict=True)], dtype=np.float64)
    bleus = bleu_of_sums(ngrams, 4).tolist()
    comparison = _Comparison(mode)
    with rdBase.BlockLogs():  # RDKit would print a complaint for each unreadable prediction
        rows = tuple(
            comparison.compare(prediction, reference, bleu)
            for prediction, reference, bleu in zip(predictions, references, bleus, strict=True)
        )
    values = np.array([_values(row, mode) for row in rows], dtype=np.float64)
    bleu, exact, levenshtein, maccs, rdk, morgan, validity, maccs_all, rdk_all, morgan_all = score_rows(
        ngrams, (4,), values, resampling
    )
    return MoleculeScores(
        bleu=bleu,
        exact=exact,
        levenshtein=levenshtein,
        maccs=maccs,
        rdk=rdk,
        morgan=morgan,
        validity=validity,
        maccs_all=maccs_all,
        rdk_all=rdk_all,
        morgan_all=morgan_all,
        invalid_predictions=sum(not row.valid for row in rows),
        invalid_references=sum(not row.reference_valid for row in rows),
        without_inchi=comparison.without_inchi,
        mode=mode,
        resampling=resampling,
        versions=library_versions(_DISTRIBUTIONS),
        rows=rows,
    )


def _scored_form(smiles: str) -> str:
    return single_backslashes(smiles.strip()).replace("\\", "\\\\")


def _values(row: MoleculeRow, mode: Mode) -> list[float]:
    """The row's part in each mean; NaN where it has none."""
    nan = float("nan")
    strict = mode == "strict"
    similarities = [nan if s is None else s for s in (row.maccs, row.rdk, row.morgan)]
    countable = row.reference_valid or not strict
    return [
        float(row.exact) if countable else nan,
        row.levenshtein,
        *similarities,
        float(row.valid if strict else row.valid and row.reference_valid),
        *((s or 0.0) if countable else nan for s in (row.maccs, row.rdk, row.morgan)),
    ]


def write_inchi(molecule: Any) -> str:
    """The standard InChI of an RDKit molecule; empty where there is none, as with attachment points (`*`)."""
    from rdkit.Chem.rdinchi import MolToInchi

    return str(MolToInchi(molecule)[0])


class _Comparison:
    """Compares pairs of molecules; holds RDKit's generator, which is costly to make, and counts the odd cases."""

    def __init__(self, mode: Mode) -> None:
        from rdkit.Chem import rdFingerprintGenerator

        self._strict = mode == "strict"
        self._morgan = rdFingerprintGenerator.GetMorganGenerator(radius=2)
        self.without_inchi = 0

    def compare(self, prediction: str, reference: str, bleu: float) -> MoleculeRow:
        from Levenshtein import distance

        predicted, expected = self._parse(prediction), self._parse(reference)
        exact, maccs, rdk, morgan = False, None, None, None
        if predicted is not None and expected is not None:
            exact = self._is_same(predicted, expected)
            maccs, rdk, morgan = self._similarities(predicted, expected)
        edits = distance(prediction, reference)
        return MoleculeRow(bleu, exact, edits, maccs, rdk, morgan, predicted is not None, expected is not None)

    def _parse(self, smiles: str) -> Any:
        from rdkit import Chem

        # RDKit reads an empty text as a molecule without atoms, and what follows white space as a name.
        if self._strict and (not smiles or len(smiles.split()) != 1):
            return None
        return Chem.MolFromSmiles(smiles)

    def _is_same(self, predicted: Any, expected: Any) -> bool:
        from rdkit import Chem

        first, second = write_inchi(predicted), write_inchi(expected)
        if first and second:
            return first == second
        self.without_inchi += 1
        if self._strict:
            return bool(Chem.MolToSmiles(predicted) == Chem.MolToSmiles(expected))
        return first == second

    def _similarities(self, predicted: Any, expected: Any) -> tuple[float, float, float]:
        from rdkit import Chem
        from rdkit.Chem.rdMolDescriptors import GetMACCSKeysFingerprint
        from rdkit.DataStructs import TanimotoSimilarity

        kinds = (GetMACCSKeysFingerprint, Chem.RDKFingerprint, self._morgan.GetSparseCountFingerprint)
        maccs, rdk, morgan = (TanimotoSimilarity(kind(predicted), kind(expected)) for kind in kinds)
        return maccs, rdk, morgan
