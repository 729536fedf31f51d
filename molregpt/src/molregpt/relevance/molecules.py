"""A molecule beside others, in figures: how alike they are by what kind of fingerprint, by composition, by name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from molregpt.relevance.likeness import Ngrams, mean_tanimoto, scored_makers, share_ngrams

if TYPE_CHECKING:
    from rdkit.Chem import Mol

Floats = NDArray[np.float64]

ELEMENTS = ("C", "N", "O", "S", "P", "F", "Cl", "Br", "I")
UNNAMED = 0.3
"""What stands for the likeness of two names where one is missing: about the mean of neighbours."""

_NAME_PART = re.compile(r"[a-z]+|\d+|[^\w\s]")


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """What a molecule is compared by.

    Attributes:
        molecule: As RDKit's.
        fingerprints: One of each kind, as RDKit's.
        counts: Atoms by element, the other elements, hydrogens, charge, rings, aromatic rings, stereocentres, double
            bonds, fragments, charged atoms, isotopes.
        name: N-grams of the name: its parts, pairs of parts, triples of letters; empty where it has none.
    """

    molecule: Mol
    fingerprints: tuple[Any, ...]
    counts: Floats
    name: tuple[Ngrams, ...]


@cache
def _fingerprint_makers() -> tuple[Callable[[Mol], Any], ...]:
    from rdkit.Chem import rdFingerprintGenerator as Generators

    morgan, paths, keys = scored_makers()
    features = Generators.GetMorganFeatureAtomInvGen()
    return (
        morgan,
        Generators.GetMorganGenerator(radius=3).GetSparseCountFingerprint,
        Generators.GetMorganGenerator(radius=2, atomInvariantsGenerator=features).GetSparseCountFingerprint,
        Generators.GetMorganGenerator(radius=2, includeChirality=True).GetSparseCountFingerprint,
        paths,
        keys,
        Generators.GetAtomPairGenerator().GetSparseCountFingerprint,
        Generators.GetTopologicalTorsionGenerator().GetSparseCountFingerprint,
    )


@lru_cache(maxsize=16_384)
def profile_molecule(smiles: str, name: str) -> Profile:
    """What a molecule is compared by; kept (5 kB each), since molecules are neighbours of many.

    Raises:
        molindex.smiles.SmilesError: RDKit cannot read it.
    """
    from molindex.smiles import parse_smiles

    molecule = parse_smiles(smiles)
    parts = _NAME_PART.findall(name.lower())
    return Profile(
        molecule,
        tuple(make(molecule) for make in _fingerprint_makers()),
        _count(molecule),
        (
            Counter((part,) for part in parts),
            Counter(pairwise(parts)),
            Counter(zip(name, name[1:], name[2:], strict=False)),
        ),
    )


def _count(molecule: Mol) -> Floats:
    from rdkit.Chem import GetMolFrags, rdMolDescriptors

    atoms = list(molecule.GetAtoms())
    elements = Counter(atom.GetSymbol() for atom in atoms)
    known = [elements[element] for element in ELEMENTS]
    double = [bond.GetBondTypeAsDouble() == 2.0 and not bond.GetIsAromatic() for bond in molecule.GetBonds()]
    charges = [atom.GetFormalCharge() for atom in atoms]
    figures = [
        *known,
        len(atoms) - sum(known),
        sum(atom.GetTotalNumHs() for atom in atoms),
        sum(charges),
        rdMolDescriptors.CalcNumRings(molecule),
        rdMolDescriptors.CalcNumAromaticRings(molecule),
        rdMolDescriptors.CalcNumAtomStereoCenters(molecule),
        sum(double),
        len(GetMolFrags(molecule)),
        sum(map(abs, charges)),
        sum(atom.GetIsotope() != 0 for atom in atoms),
    ]
    return np.array(figures, dtype=np.float64)


SCORED = (0, 4, 5)
"""Places of what the `scored_makers` make."""

_COMPOSITION = len(ELEMENTS) + 2  # with the other elements and hydrogens
_CHARGE = _COMPOSITION


def compare_molecules(query: Profile, others: Sequence[Profile]) -> Floats:
    """A molecule beside N others.

    Returns:
        `[N, 35]`: 8 Tanimoto similarities, 3 of names, closeness of 19 counts, closeness of the formula, whether it is
        the same, and signed differences of carbon, oxygen and charge.
    """
    from rdkit.DataStructs import BulkTanimotoSimilarity

    columns = [
        np.array(BulkTanimotoSimilarity(own, [other.fingerprints[kind] for other in others]))
        for kind, own in enumerate(query.fingerprints)
    ]
    for kind, own in enumerate(query.name):
        likeness = [share_ngrams(own, other.name[kind]) if own and other.name[kind] else UNNAMED for other in others]
        columns.append(np.array(likeness))
    differences = np.stack([other.counts - query.counts for other in others])  # [N, 19]
    columns.extend(np.exp(-np.abs(differences)).T)
    composition = np.abs(differences[:, :_COMPOSITION]).sum(axis=1)
    columns.append(np.exp(-composition / 4.0))
    columns.append(composition == 0.0)
    columns.extend((np.tanh(differences[:, 0] / 8.0), np.tanh(differences[:, 2] / 4.0)))
    columns.append(np.tanh(differences[:, _CHARGE]))
    return np.stack(columns, axis=1).astype(np.float64)


def compare_scored(left: Sequence[Profile], right: Sequence[Profile]) -> Floats:
    """How alike pairs of molecules are by the fingerprints that ChEBI-20's scores use: mean Tanimoto `[L, R]`."""
    rows, columns = ([[one.fingerprints[kind] for kind in SCORED] for one in side] for side in (left, right))
    return mean_tanimoto(rows, columns)
