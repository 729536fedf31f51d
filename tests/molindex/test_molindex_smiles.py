"""What is read, what is refused, with which words, and that nothing leaks to stderr."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdkit import Chem, rdBase

from molindex.errors import InputError
from molindex.fingerprints import Fingerprint
from molindex.smiles import SmilesError, canonical_smiles, parse_smiles, parse_smiles_for_morgan


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("C(C", "SMILES Parse Error: extra open parentheses, around position 2"),
        ("CC)C", "SMILES Parse Error: extra close parentheses, around position 3"),
        ("C1CC", "SMILES Parse Error: unclosed ring"),
        ("xyz", "SMILES Parse Error: syntax error, around position 1"),
        ("CF(F)C", "Explicit valence for atom # 1 F, 3, is greater than permitted"),
        ("n1cccc1", "Can't kekulize mol. Unkekulized atoms: 0 1 2 3 4"),
        ("", "empty"),
        (" \t", "empty"),
        ("CCO ethanol", "white space inside"),
        ("C\x00C", "a character that is not printable ASCII"),
        ("Cα", "a character that is not printable ASCII"),
    ],
)
def test_a_refused_smiles_says_why(smiles, reason, capfd):
    with pytest.raises(SmilesError) as caught:
        parse_smiles(smiles)
    assert caught.value.reason == reason
    assert caught.value.smiles == smiles
    assert isinstance(caught.value, InputError)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def outcome(parse, smiles):
    """Two fingerprints of what was read, or the reason why it was not."""
    try:
        mol = parse(smiles)
    except SmilesError as error:
        return error.reason
    return [Fingerprint(radius=radius, size=1024).pack([mol]).tobytes() for radius in (2, 3)]


ODD = [
    *("", "C C", "C(", "c1cccc1", "CN(C)(C)(C)C", "  CCO ", "Cé", "xyz", "[nH]1cccc1", "n1cccc1"),
    *("[H]C([H])([H])[H]", "[2H]O[2H]", "[H][H].[H]", "[H+]", "[NH4+]", "[Na+].[Cl-]", "[*]CC", "N->[Pt](Cl)Cl"),
    *("C[C@H](N)O", "F/C=C/F", "F/C=C\\F", "CN(=O)=O", "O=[N+]([O-])c1ccccc1", "[Fe+2].[O-]C", "C%12CC%12", "[13CH4]"),
]


def test_a_molecule_read_for_morgan_alone_has_the_same_fingerprint(sample):
    with rdBase.BlockLogs():
        for smiles in [*ODD, *(row.smiles for row in sample)]:
            assert outcome(parse_smiles_for_morgan, smiles) == outcome(parse_smiles, smiles), smiles


def test_warnings_are_silent_too(capfd):
    assert parse_smiles("[H][H].[H]").GetNumAtoms() == 3
    assert capfd.readouterr().err == ""


def test_the_log_is_as_before_afterwards(capfd):
    with pytest.raises(SmilesError):
        parse_smiles("C(C")
    assert Chem.MolFromSmiles("CC)") is None
    assert "extra close parentheses" in capfd.readouterr().err


def test_a_long_smiles_is_shortened_in_the_message():
    with pytest.raises(SmilesError) as caught:
        parse_smiles("C" * 5000 + "(")
    assert len(str(caught.value)) < 250


def test_the_error_keeps_its_reason_between_processes():
    error = pickle.loads(pickle.dumps(SmilesError("C(", "open")))
    assert (error.smiles, error.reason) == ("C(", "open")


def test_canonical_form_is_one_for_all_spellings():
    forms = {canonical_smiles(text) for text in ("OCC", "C(O)C", " CCO ", "[CH3][CH2][OH]")}
    assert forms == {"CCO"}
    assert canonical_smiles(r"F/C=C\F") == canonical_smiles(r"F/C=C\\F") == r"F/C=C\F"


def test_canonical_form_is_rdkits_and_stable(sample):
    for row in sample:
        canonical = canonical_smiles(row.smiles)
        assert canonical == Chem.MolToSmiles(Chem.MolFromSmiles(row.smiles))
        assert canonical_smiles(canonical) == canonical


@given(st.text(max_size=20))
def test_any_text_is_read_or_refused_with_one_line(text):
    try:
        parse_smiles(text)
    except SmilesError as error:
        refusal = error
    else:
        return
    assert refusal.reason
    assert len(str(refusal).splitlines()) == 1
