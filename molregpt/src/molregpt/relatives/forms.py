"""The same molecule as acid, as base, as zwitterion.

ChEBI describes each form of a compound for itself, mostly the neutral one and the one that prevails at pH 7.3, and its
descriptions say which form is meant. So where one is known, the others need not be guessed.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rdkit.Chem import Mol

# Hydroxy groups of carboxylic, phosphoric and sulfonic acids, and of the esters that still have one.
_ACID = "[OX2H1;$(O-[CX3]=O),$(O-P=O),$(O-S(=O)=O)]"
# Aliphatic amines, and the imino nitrogen of guanidines.
_BASE = "[$([NX3;!$(N~[!#6]);!$(N-[#6]=,:,#*)]),$([NX2]=[CX3](-[NX3])-[NX3])]"

_ONE_BY_ONE = 3
"""Molecules with more acid groups than this have no forms in which only some of them have lost a proton."""


@cache
def _patterns() -> tuple[Any, Any]:
    from rdkit.Chem import MolFromSmarts

    return MolFromSmarts(_ACID), MolFromSmarts(_BASE)


def other_forms(molecule: Mol) -> list[Mol]:
    """The molecule with as few charges as protons can make, and with protons moved or taken, as its groups allow.

    The metal ions of a salt keep their charge. All acid groups have lost their proton, or some of up to three; all
    basic groups have got one, or none. Stereochemistry stays. The given form may be among them.
    """
    from rdkit.Chem import SanitizeMol
    from rdkit.Chem.MolStandardize.rdMolStandardize import Uncharger
    from rdkit.rdBase import BlockLogs

    with BlockLogs():
        try:
            neutral = Uncharger(canonicalOrder=True, force=True).uncharge(molecule)
            SanitizeMol(neutral)
        except ValueError:  # RDKit's own errors are of this kind: no such form can exist
            return []
        acids, bases = ([match[0] for match in neutral.GetSubstructMatches(pattern)] for pattern in _patterns())
        charged = (_charge(neutral, lost, gained) for lost in _choices(acids) for gained in {(), tuple(bases)})
        return [form for form in charged if form is not None]


def _choices(atoms: list[int]) -> Iterator[tuple[int, ...]]:
    yield ()
    if len(atoms) <= _ONE_BY_ONE:
        for count in range(1, len(atoms)):
            yield from combinations(atoms, count)
    if atoms:
        yield tuple(atoms)


def _charge(neutral: Mol, lost: tuple[int, ...], gained: tuple[int, ...]) -> Mol | None:
    from rdkit.Chem import RWMol, SanitizeMol

    form = RWMol(neutral)
    for atoms, charge in ((lost, -1), (gained, 1)):
        for number in atoms:
            atom = form.GetAtomWithIdx(number)
            atom.SetFormalCharge(charge)
            # Hydrogens follow from charge and bonds.
            atom.SetNumExplicitHs(0)
            atom.SetNoImplicit(False)
    try:
        SanitizeMol(form)
    except ValueError:
        return None
    return form.GetMol()


def write_like_pubchem(molecule: Mol) -> str:
    """SMILES with double bonds in aromatic rings, as PubChem and so ChEBI-20 write them; empty where there is none."""
    from rdkit.Chem import Kekulize, Mol, MolToSmiles

    plain = Mol(molecule)
    try:
        Kekulize(plain, clearAromaticFlags=True)
    except ValueError:
        return ""
    return str(MolToSmiles(plain, kekuleSmiles=True))
