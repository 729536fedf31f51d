"""Fingerprints equal the direct RDKit call, packed and unpacked."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem, MACCSkeys

from molindex.errors import InputError
from molindex.fingerprints import Fingerprint
from molindex.smiles import parse_smiles

DIRECT = {
    Fingerprint(): lambda mol: AllChem.GetMorganFingerprintAsBitVect(mol, 2, 2048),
    Fingerprint("morgan", 3, 1024): lambda mol: AllChem.GetMorganFingerprintAsBitVect(mol, 3, 1024),
    Fingerprint("rdkit"): lambda mol: Chem.RDKFingerprint(mol),
    Fingerprint("rdkit", size=512): lambda mol: Chem.RDKFingerprint(mol, fpSize=512),
    Fingerprint("maccs"): lambda mol: MACCSkeys.GenMACCSKeys(mol),
}


@pytest.mark.parametrize("fingerprint", DIRECT, ids=str)
def test_equal_to_the_direct_call(fingerprint, sample):
    mols = [parse_smiles(row.smiles) for row in sample]
    packed = fingerprint.pack(mols)
    assert packed.shape == (len(mols), fingerprint.packed_bytes)
    assert fingerprint.packed_bytes % 8 == 0
    for mol, code in zip(mols, packed, strict=True):
        on_bits = list(DIRECT[fingerprint](mol).GetOnBits())
        assert list(fingerprint.of(mol).GetOnBits()) == on_bits
        assert np.flatnonzero(np.unpackbits(code, bitorder="little")).tolist() == on_bits


def test_equal_means_equal_bits():
    assert Fingerprint("maccs", 3, 512) == Fingerprint("maccs")
    assert Fingerprint("rdkit", 5) == Fingerprint("rdkit", 2)
    assert Fingerprint("morgan", 3) != Fingerprint("morgan", 2)


@pytest.mark.parametrize("fingerprint", DIRECT, ids=str)
def test_written_form_reads_back(fingerprint):
    assert Fingerprint.parse(str(fingerprint)) == fingerprint


@pytest.mark.parametrize(
    "text", ["", "morgan", "morgan:2", "morgan:x:64", "morgan:-2:64", "ecfp:2:2048", "morgan:2:100"]
)
def test_other_text_is_no_fingerprint(text):
    with pytest.raises(InputError):
        Fingerprint.parse(text)


def test_no_molecules_pack_to_no_rows():
    assert Fingerprint().pack([]).shape == (0, 256)
