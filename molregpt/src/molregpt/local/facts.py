"""What can be counted in a molecule, said in one sentence: an exercise whose answers cost nothing.

Captions speak of acids, esters, rings and charges; a model that can count them finds them in a molecule that has no
near neighbour.
"""

from __future__ import annotations

# RDKit's fragment counters (rdkit.Chem.Fragments, from the fragments of BioByte's tables) whose meaning is a ChEBI
# class or part of one, under the name that descriptions use.
GROUPS = {
    "fr_COO": "carboxylic acid",
    "fr_ester": "ester",
    "fr_lactone": "lactone",
    "fr_amide": "amide",
    "fr_imide": "imide",
    "fr_urea": "urea",
    "fr_guanido": "guanidine",
    "fr_amidine": "amidine",
    "fr_NH2": "primary amine",
    "fr_NH1": "secondary amine",
    "fr_NH0": "tertiary amine",
    "fr_quatN": "quaternary nitrogen",
    "fr_Imine": "imine",
    "fr_nitrile": "nitrile",
    "fr_nitro": "nitro",
    "fr_azo": "azo",
    "fr_oxime": "oxime",
    "fr_Al_OH": "alcohol",
    "fr_phenol": "phenol",
    "fr_ether": "ether",
    "fr_methoxy": "methoxy",
    "fr_epoxide": "epoxide",
    "fr_aldehyde": "aldehyde",
    "fr_ketone": "ketone",
    "fr_halogen": "halogen",
    "fr_SH": "thiol",
    "fr_sulfide": "sulfide",
    "fr_sulfone": "sulfone",
    "fr_sulfonamd": "sulfonamide",
    "fr_phos_acid": "phosphoric acid",
    "fr_phos_ester": "phosphoric ester",
    "fr_benzene": "benzene",
    "fr_pyridine": "pyridine",
    "fr_furan": "furan",
    "fr_thiophene": "thiophene",
    "fr_imidazole": "imidazole",
    "fr_thiazole": "thiazole",
    "fr_piperdine": "piperidine",
    "fr_piperzine": "piperazine",
    "fr_unbrch_alkane": "unbranched alkane",
}


def state_facts(smiles: str) -> str | None:
    """Formula with charge, rings, stereocentres and groups of a molecule in one sentence.

    Ethanol is `C2H6O; 0 rings, 0 aromatic; 0 stereocentres; alcohol 1`.

    Returns:
        The sentence, with the groups that occur; None where RDKit cannot read the molecule.
    """
    from rdkit.Chem import Fragments, rdMolDescriptors

    from molindex.smiles import SmilesError, parse_smiles

    try:
        molecule = parse_smiles(smiles)
    except SmilesError:
        return None
    rings = rdMolDescriptors.CalcNumRings(molecule)
    aromatic = rdMolDescriptors.CalcNumAromaticRings(molecule)
    stereocentres = rdMolDescriptors.CalcNumAtomStereoCenters(molecule)
    parts = [
        rdMolDescriptors.CalcMolFormula(molecule),
        f"{rings} rings, {aromatic} aromatic",
        f"{stereocentres} stereocentres",
    ]
    counts = {word: getattr(Fragments, counter)(molecule) for counter, word in GROUPS.items()}
    groups = ", ".join(f"{word} {count}" for word, count in counts.items() if count)
    return "; ".join([*parts, groups] if groups else parts)
