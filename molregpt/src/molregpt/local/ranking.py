"""Which of several candidates is the answer.

A candidate is judged by what the model thinks of it, by what it has in common with the other candidates (minimum Bayes
risk: the one that is nearest to all of them loses least when it is wrong), by how it leads back to the question, and
by what can be checked of it. How much each counts is chosen on held-out pairs and stored with the model.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from rdkit.Chem import Mol

LONGEST = 4
"""The longest n-gram that two captions are compared by."""

_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Weights:
    """How much each judgement counts; all are means, so that long answers are not worse for being long.

    Attributes:
        confidence: Mean log-probability of the answer's pieces, in nats.
        consensus: Mean similarity to the other candidates, 0 to 1.
        nearness: Similarity to the nearest neighbours' answers, 0 to 1.
        round_trip: Mean log-probability of the question's pieces given the answer, in nats.
        checks: Share of the checkable properties that hold, 0 to 1.
    """

    confidence: float = 0.1
    consensus: float = 1.0
    nearness: float = 0.0
    round_trip: float = 0.1
    checks: float = 0.2


@dataclass(frozen=True, slots=True)
class Judged:
    """A candidate with what is known of it; see `Weights` for the judgements."""

    text: str
    confidence: float
    consensus: float
    nearness: float
    round_trip: float
    checks: float


def rank(candidates: Sequence[Judged], weights: Weights) -> list[Judged]:
    """The candidates, the best first; equally good ones stay in their order."""
    factors: dict[str, float] = asdict(weights)

    def total(candidate: Judged) -> float:
        return float(sum(factor * getattr(candidate, name) for name, factor in factors.items()))

    return sorted(candidates, key=total, reverse=True)


def caption_similarities(left: Sequence[str], right: Sequence[str]) -> NDArray[np.float64]:
    """How much pairs of captions have in common.

    Args:
        left: L captions.
        right: R captions.

    Returns:
        `[L, R]`: mean over n = 1..4 of the F1 of their word n-grams.
    """
    rows, columns = [_ngrams(text) for text in left], [_ngrams(text) for text in right]
    return np.array([[_overlap(one, other) for other in columns] for one in rows]).reshape(len(left), len(right))


def _ngrams(text: str) -> list[Counter[tuple[str, ...]]]:
    words = _WORD.findall(text.lower())
    return [Counter(zip(*(words[start:] for start in range(n)), strict=False)) for n in range(1, LONGEST + 1)]


def _overlap(left: Sequence[Counter[tuple[str, ...]]], right: Sequence[Counter[tuple[str, ...]]]) -> float:
    values = []
    for one, other in zip(left, right, strict=True):
        total = one.total() + other.total()
        values.append(2.0 * (one & other).total() / total if total else 1.0)
    return float(np.mean(values))


def molecule_similarities(left: Sequence[Mol], right: Sequence[Mol]) -> NDArray[np.float64]:
    """How alike pairs of molecules are.

    Returns:
        `[L, R]`: mean of the Tanimoto similarities of MACCS keys, RDKit's path fingerprints and Morgan counts of
        radius 2, which are those that ChEBI-20's scores use.
    """
    from rdkit import DataStructs
    from rdkit.Chem import rdFingerprintGenerator, rdMolDescriptors

    makers = (
        rdMolDescriptors.GetMACCSKeysFingerprint,
        rdFingerprintGenerator.GetRDKitFPGenerator().GetFingerprint,
        rdFingerprintGenerator.GetMorganGenerator(radius=2).GetSparseCountFingerprint,
    )
    total = np.zeros((len(left), len(right)))
    for make in makers:
        columns = [make(molecule) for molecule in right]
        for row, molecule in enumerate(left):
            total[row] += DataStructs.BulkTanimotoSimilarity(make(molecule), columns)
    return total / len(makers)


# What a description says by name, and the element that a molecule then must have.
_ELEMENTS: Mapping[str, re.Pattern[str]] = {
    "Cl": re.compile(r"chlor"),
    "Br": re.compile(r"brom"),
    "F": re.compile(r"fluor(?!e)"),
    "I": re.compile(r"\biod|[a-z]iodo"),
    "S": re.compile(r"sulf|thiol|thio(?!n)|cystein|methionin"),
    "P": re.compile(r"phosph"),
    "N": re.compile(r"\bamin(?:e|o)|amide|nitr|pyridin|indol|peptid|alkaloid"),
    "Na": re.compile(r"sodium salt"),
    "K": re.compile(r"potassium salt"),
}
_CHARGE = re.compile(r"\((\d+)([+-])\)")


def check_properties(caption: str, molecule: Mol) -> float:
    """Share of what `caption` says of elements and charge that holds of `molecule`; 1 where it says nothing.

    The charge is that of an ion named as one (`(2-)`, anion, cation); everything else is taken to be neutral.
    """
    text = caption.lower()
    symbols = {atom.GetSymbol() for atom in molecule.GetAtoms()}
    results = [element in symbols for element, pattern in _ELEMENTS.items() if pattern.search(text)]
    charge = sum(atom.GetFormalCharge() for atom in molecule.GetAtoms())
    named = _CHARGE.search(text.split(".")[0])
    # On ChEBI-20's validation split the two words hold in 97 % and 80 %, and "conjugate base of" in 87 %; conjugate
    # acids are neutral in 81 %.
    if named:
        results.append(charge == int(named[1]) * (1 if named[2] == "+" else -1))
    elif "zwitterion" not in text and re.search(r"anion\b|conjugate base of", text):
        results.append(charge < 0)
    elif "zwitterion" not in text and re.search(r"cation\b", text):
        results.append(charge > 0)
    else:
        results.append(charge == 0)
    return float(np.mean(results))
