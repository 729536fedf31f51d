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

MOST_NEAR, MOST_NAMED = 90, 40
"""Known molecules in all, around neighbours and by name; each may have several forms."""


@dataclass(frozen=True, slots=True, eq=False)
class Relative:
    """A molecule that a description may mean.

    Attributes:
        smiles: As it would be answered.
        name: Systematic name of the known molecule that it is, or is a form of; empty where that has none.
        listed: Whether it was found itself, not only another form of it.
    """

    smiles: str
    name: str
    listed: bool


def find_relatives(question: Question, structures: Structures) -> list[Relative]:
    """Molecules of the neighbours, known ones around them or by name, and other forms of all, without doubles."""
    from rdkit.Chem import MolToSmiles

    if not question.examples:
        return []
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
    """Molecules of the neighbours, then those around them, the nearest first, then those whose name is said."""
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
    around = sorted(near, key=lambda one: near[one], reverse=True)[:MOST_NEAR]
    said = [one.smiles for one in structures.named_like(question.query, MOST_NAMED, question.withheld)]
    for smiles in dict.fromkeys(around + said):
        yield smiles, read_molecule(smiles).molecule
