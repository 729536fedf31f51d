"""How alike two answers are, by what ChEBI-20's scores compare: n-grams of words, fingerprints of molecules."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from rdkit.Chem import Mol

LONGEST = 4
"""The longest n-gram that two captions are compared by."""

_WORD = re.compile(r"\w+|[^\w\s]")

Ngrams = Counter[tuple[str, ...]]


def caption_similarities(left: Sequence[str], right: Sequence[str]) -> NDArray[np.float64]:
    """How much pairs of captions have in common.

    Args:
        left: L captions.
        right: R captions.

    Returns:
        `[L, R]`: mean over n = 1..4 of the F1 of their word n-grams; texts without n-grams of some n are alike in it.
    """
    total = np.zeros((len(left), len(right)))
    for order in range(LONGEST):
        rows, columns = ([count_word_ngrams(text)[order] for text in texts] for texts in (left, right))
        sizes = np.add.outer(_totals(rows), _totals(columns))
        total += np.where(sizes > 0.0, 2.0 * _count_shared(rows, columns) / np.maximum(sizes, 1.0), 1.0)
    return total / LONGEST


def _totals(counts: Sequence[Ngrams]) -> NDArray[np.float64]:
    return np.array([one.total() for one in counts], dtype=np.float64)


def _count_shared(left: Sequence[Ngrams], right: Sequence[Ngrams]) -> NDArray[np.float64]:
    """Size of the intersection of each pair of multisets, `[L, R]`.

    The smaller of two counts is the number of levels that both reach, so each level is one product of 0-1 matrices.
    """
    numbers: dict[tuple[str, ...], int] = {}
    for counts in right:
        for ngram in counts:
            numbers.setdefault(ngram, len(numbers))
    shared = np.zeros((len(left), len(right)))
    rows, columns = (_lay_out(side, numbers) for side in (left, right))
    for level in range(1, int(min(rows.max(initial=0), columns.max(initial=0))) + 1):
        shared += (rows >= level).astype(np.float32) @ (columns >= level).astype(np.float32).T
    return shared


def _lay_out(side: Sequence[Ngrams], numbers: Mapping[tuple[str, ...], int]) -> NDArray[np.int32]:
    table = np.zeros((len(side), len(numbers)), np.int32)
    for row, counts in zip(table, side, strict=True):
        for ngram, count in counts.items():
            if ngram in numbers:
                row[numbers[ngram]] = count
    return table


def cast_votes(values: NDArray[np.float64], sharpness: float) -> NDArray[np.float64]:
    """Shares `[N]` of one vote, by a softmax of `values` over `sharpness`."""
    votes = np.exp((values - values.max()) / sharpness)
    return np.asarray(votes / votes.sum(), dtype=np.float64)


@lru_cache(maxsize=20_000)
def count_word_ngrams(text: str) -> tuple[Ngrams, ...]:
    """N-grams of the words and punctuation of a text, for n = 1..4."""
    words = _WORD.findall(text.lower())
    return tuple(Counter(zip(*(words[start:] for start in range(n)), strict=False)) for n in range(1, LONGEST + 1))


def share_ngrams(left: Ngrams, right: Ngrams) -> float:
    """F1 of the n-grams that two texts have in common; 1 where neither has any."""
    total = left.total() + right.total()
    # The shorter one is walked through: `&` would walk through the left one, whatever its length.
    few, many = (left, right) if len(left) <= len(right) else (right, left)
    return 2.0 * sum(min(count, many[key]) for key, count in few.items() if key in many) / total if total else 1.0


@cache
def scored_makers() -> tuple[Callable[[Mol], Any], ...]:
    """What makes the fingerprints of ChEBI-20's scores: Morgan counts of radius 2, RDKit's paths, MACCS keys."""
    from rdkit.Chem import rdFingerprintGenerator, rdMolDescriptors

    return (
        rdFingerprintGenerator.GetMorganGenerator(radius=2).GetSparseCountFingerprint,
        rdFingerprintGenerator.GetRDKitFPGenerator().GetFingerprint,
        rdMolDescriptors.GetMACCSKeysFingerprint,
    )


@dataclass(frozen=True, slots=True, eq=False)
class ReadMolecule:
    """A molecule with the fingerprints of ChEBI-20's scores."""

    molecule: Mol
    fingerprints: tuple[Any, ...]


@lru_cache(maxsize=4096)
def read_molecule(smiles: str) -> ReadMolecule:
    """Read a molecule that is compared with several others, in this question and the next; 20 kB each are kept.

    Raises:
        molindex.smiles.SmilesError: RDKit cannot read it.
    """
    from molindex.smiles import parse_smiles

    molecule = parse_smiles(smiles)
    return ReadMolecule(molecule, tuple(make(molecule) for make in scored_makers()))


def are_same(left: Mol, right: Mol) -> bool:
    """Whether two molecules are one, as ChEBI-20's score of exact matches counts: the same standard InChI.

    Tautomers can be. Where InChI knows no such molecule, the canonical SMILES decides.
    """
    from rdkit.Chem import MolToSmiles
    from rdkit.Chem.rdMolDescriptors import CalcMolFormula

    from molregpt.metrics.molecules import write_inchi

    # An InChI takes a millisecond; it begins with the formula and knows the charge.
    if CalcMolFormula(left) != CalcMolFormula(right):
        return False
    first, second = write_inchi(left), write_inchi(right)
    if first and second:
        return first == second
    return bool(MolToSmiles(left) == MolToSmiles(right))


def molecule_similarities(left: Sequence[str], right: Sequence[str]) -> NDArray[np.float64]:
    """How alike pairs of molecules are: mean Tanimoto similarity `[L, R]` by the `scored_makers`.

    Raises:
        molindex.smiles.SmilesError: RDKit cannot read one of them.
    """
    return mean_tanimoto(*([read_molecule(one).fingerprints for one in side] for side in (left, right)))


def mean_tanimoto(left: Sequence[Sequence[Any]], right: Sequence[Sequence[Any]]) -> NDArray[np.float64]:
    """Mean Tanimoto similarity `[L, R]` of molecules that are given by a fingerprint of each kind."""
    from rdkit.DataStructs import BulkTanimotoSimilarity

    total = np.zeros((len(left), len(right)))
    if not right:
        return total
    columns = [list(kind) for kind in zip(*right, strict=True)]
    for row, fingerprints in enumerate(left):
        for own, others in zip(fingerprints, columns, strict=True):
            total[row] += BulkTanimotoSimilarity(own, others)
    return total / len(columns)
