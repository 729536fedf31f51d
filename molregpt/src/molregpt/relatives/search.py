"""From the neighbours of a description to molecules that it may mean, though nobody described them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from molregpt.relatives.forms import other_forms, write_like_pubchem
from molregpt.relevance.likeness import are_same, read_molecule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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
    """

    smiles: str
    name: str


def find_relatives(question: Question, structures: Structures) -> list[Relative]:
    """Molecules of the neighbours, known ones around them or by name, and other forms of all, without doubles."""
    from rdkit.Chem import MolToSmiles

    if not question.examples:
        return []
    found: dict[str, Relative] = {}
    known = list(_leave_out(question.withheld, _known(question, structures)))
    for smiles, molecule in known:
        found.setdefault(str(MolToSmiles(molecule)), Relative(smiles, structures.name(smiles)))
    for smiles, molecule in known:
        for form in other_forms(molecule):
            canonical = str(MolToSmiles(form))
            if canonical not in found and (written := write_like_pubchem(form)):
                found[canonical] = Relative(written, structures.name(smiles))
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
            for one in structures.near(smiles, NEAREST):
                near[one.smiles] = max(near.get(one.smiles, 0.0), one.similarity * (0.5 + example.relevance))
    around = sorted(near, key=lambda one: near[one], reverse=True)[:MOST_NEAR]
    said = [one.smiles for one in structures.named_like(question.query, MOST_NAMED)]
    for smiles in dict.fromkeys(around + said):
        yield smiles, read_molecule(smiles).molecule


def _leave_out(withheld: str, known: Iterable[tuple[str, Mol]]) -> Iterator[tuple[str, Mol]]:
    from molindex.smiles import SmilesError

    try:
        secret = read_molecule(withheld).molecule if withheld else None
    except SmilesError:  # then no known molecule is it
        secret = None
    return (one for one in known if secret is None or not are_same(one[1], secret))
