"""What a caption says that can be checked of a molecule: elements and charge."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rdkit.Chem import Mol

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
