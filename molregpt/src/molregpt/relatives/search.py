"""From the neighbours of a description to molecules that it may mean, though nobody described them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from molregpt.relatives.forms import other_forms, write_like_pubchem
from molregpt.relevance.likeness import read_molecule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rdkit.Chem import Mol

    from molregpt.records import Question
    from molregpt.relatives.structures import Structures

AROUND = 5
"""Neighbours around which known molecules are searched for."""

NEAREST = 60
"""Known molecules around each of them."""

MOST = 120
"""Known molecules in all; each may have several forms."""


@dataclass(frozen=True, slots=True, eq=False)
class Relative:
    """A molecule that a description may mean.

    Attributes:
        smiles: As it would be answered.
        name: Systematic name of the known molecule that it is, or is a form of; empty where that has none.
        listed: Whether it is known itself.
    """

    smiles: str
    name: str
    listed: bool


def find_relatives(question: Question, structures: Structures) -> list[Relative]:
    """Known molecules around the neighbours' own, those included, and other forms of all of them, without doubles."""
    from rdkit.Chem import MolToSmiles

    found: dict[str, Relative] = {}
    known = list(_known(question, structures))
    for smiles, molecule in known:
        found.setdefault(str(MolToSmiles(molecule)), Relative(smiles, structures.name(smiles), listed=True))
    for smiles, molecule in known:
        for form in other_forms(molecule):
            canonical = str(MolToSmiles(form))
            if canonical not in found and (written := write_like_pubchem(form)):
                found[canonical] = Relative(written, structures.name(smiles), listed=False)
    return list(found.values())


def _known(question: Question, structures: Structures) -> Iterator[tuple[str, Mol]]:
    """Molecules of the neighbours, then those around them, the nearest first."""
    from molindex.smiles import SmilesError

    near: dict[str, float] = {}
    for rank, example in enumerate(question.examples):
        smiles = question.target_of(example.pair)
        try:
            yield smiles, read_molecule(smiles).molecule
        except SmilesError:
            continue
        if rank < AROUND:
            for one in structures.near(smiles, NEAREST, question.withheld):
                near[one.smiles] = max(near.get(one.smiles, 0.0), one.similarity * (0.5 + example.similarity))
    for smiles in sorted(near, key=lambda one: near[one], reverse=True)[:MOST]:
        yield smiles, read_molecule(smiles).molecule
