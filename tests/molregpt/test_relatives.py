"""Molecules that nobody described: forms of a molecule, known ones around it, and which of them a name points to."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdkit import Chem

from molindex.smiles import canonical_smiles, parse_smiles
from molregpt.data.shipped import shipped_names, shipped_pairs, shipped_structures
from molregpt.database import Database
from molregpt.local.candidates import judge_relatives
from molregpt.records import Example, Pair, Question
from molregpt.relatives.forms import other_forms, write_like_pubchem
from molregpt.relatives.search import find_relatives
from molregpt.relatives.structures import Structures
from molregpt.relevance.molecules import UNNAMED
from molregpt.relevance.words import NameOverlap, cut_pieces

LYSINE = "NCCCC[C@H](N)C(=O)O"


def forms_of(smiles: str) -> set[str]:
    return {Chem.MolToSmiles(form) for form in other_forms(parse_smiles(smiles))}


@pytest.mark.parametrize(
    ("smiles", "forms"),
    [
        pytest.param("CC(=O)O", {"CC(=O)O", "CC(=O)[O-]"}, id="an acid"),
        pytest.param("CC(=O)[O-]", {"CC(=O)O", "CC(=O)[O-]"}, id="the same from its anion"),
        pytest.param("CCN(C)C", {"CCN(C)C", "CC[NH+](C)C"}, id="an amine"),
        pytest.param("NCC(=O)O", {"NCC(=O)O", "NCC(=O)[O-]", "[NH3+]CC(=O)O", "[NH3+]CC(=O)[O-]"}, id="glycine"),
        pytest.param("CC(=O)N", {"CC(N)=O"}, id="an amide is no base"),
        pytest.param("Nc1ccccc1", {"Nc1ccccc1"}, id="an aniline neither"),
        pytest.param("CNC(=N)N", {"CNC(=N)N", "CNC(N)=[NH2+]"}, id="a guanidine is one, at its imine"),
        pytest.param("C[N+](C)(C)C", {"C[N+](C)(C)C"}, id="what has no proton to lose"),
        pytest.param(
            "OC(=O)CC(=O)O", {"O=C(O)CC(=O)O", "O=C([O-])CC(=O)O", "O=C([O-])CC(=O)[O-]"}, id="a diacid, one by one"
        ),
    ],
)
def test_forms(smiles: str, forms: set[str]) -> None:
    assert forms_of(smiles) == {canonical_smiles(form) for form in forms}


def test_forms_keep_stereochemistry_and_all_atoms_but_protons() -> None:
    flat = Chem.MolToSmiles(parse_smiles(LYSINE), isomericSmiles=False)
    for form in other_forms(parse_smiles(LYSINE)):
        assert Chem.FindMolChiralCenters(form, useLegacyImplementation=False) == [(5, "S")]
        neutral = Chem.MolToSmiles(form, isomericSmiles=False).replace("[NH3+]", "N").replace("[O-]", "O")
        assert canonical_smiles(neutral) == flat


@given(st.sampled_from([pair.smiles for pair in shipped_pairs()[:400]]))
def test_forms_of_forms_are_the_same_forms(smiles: str) -> None:
    forms = forms_of(smiles)
    for form in sorted(forms)[:3]:
        assert forms_of(form) == forms


@given(st.sampled_from([pair.smiles for pair in shipped_pairs()[:400]]))
def test_writing_like_pubchem_changes_no_molecule(smiles: str) -> None:
    written = write_like_pubchem(parse_smiles(smiles))
    assert canonical_smiles(written) == canonical_smiles(smiles)
    assert not any(sign in written.replace("[", "") for sign in ("c1", "n1", "c2"))


def test_shipped_structures_are_new_and_most_have_names() -> None:
    structures = shipped_structures()
    assert len(structures) == 21_043
    pool = shipped_pairs()
    assert {one.key for one in structures}.isdisjoint(one.key for one in pool)
    assert not any(one.caption for one in structures)
    names = shipped_names()
    assert sum(bool(names[one.smiles]) for one in structures) > 20_000


@pytest.fixture
def structures(tmp_path: Path) -> Structures:
    pool = [Pair("1", "CC(=O)O", "The molecule is a short acid."), Pair("2", "CCO", "The molecule is an alcohol.")]
    others = [Pair("3", "CCC(=O)O", ""), Pair("4", "CCCC(=O)O", ""), Pair("5", "c1ccccc1", "")]
    names = {"CCC(=O)O": "propanoic acid", "CCCC(=O)O": "butanoic acid"}
    return Structures(Database(pool, cache=tmp_path), others, names)


def test_the_nearest_are_of_both_tables(structures: Structures) -> None:
    near = structures.near("CCCC(=O)O", 3)
    assert [one.smiles for one in near][:2] == ["CCCC(=O)O", "CCC(=O)O"]
    assert near[0].similarity == 1.0
    assert near[2].smiles == "CC(=O)O"


def test_names_are_found_in_a_description(structures: Structures) -> None:
    found = structures.named_like("an ester of butanoic acid", 5)
    assert [one.smiles for one in found] == ["CCCC(=O)O", "CCC(=O)O"]
    assert structures.named_like("zzzz", 5) == []


def ask(query: str, withheld: str = "") -> Question:
    example = Example(Pair("1", "CC(=O)O", "The molecule is a short acid."), 0.6)
    return Question("cap2mol", query, (example,), withheld=withheld)


def test_relatives_are_known_molecules_and_their_forms(structures: Structures) -> None:
    relatives = find_relatives(ask("anything"), structures)
    assert {"CC(=O)O", "CCC(=O)O", "CCCC(=O)O"} <= {one.smiles for one in relatives}
    molecules = [canonical_smiles(one.smiles) for one in relatives]
    assert set(molecules) >= {"CC(=O)[O-]", "CCCC(=O)[O-]"}
    assert len(set(molecules)) == len(molecules)
    butanoate = next(one for one in relatives if canonical_smiles(one.smiles) == "CCCC(=O)[O-]")
    assert butanoate.name == "butanoic acid"


@pytest.mark.parametrize("withheld", ["CCCC(=O)O", "OC(=O)CCC"])
def test_the_withheld_molecule_is_not_found_however_it_is_written(structures: Structures, withheld: str) -> None:
    relatives = find_relatives(ask("an ester of butanoic acid", withheld=withheld), structures)
    assert any(canonical_smiles(one.smiles).startswith("CCC(=O)") for one in relatives)
    assert not any(canonical_smiles(one.smiles).startswith("CCCC(=O)") for one in relatives)


def test_a_tautomer_of_the_withheld_molecule_is_not_found(tmp_path: Path) -> None:
    structures = Structures(Database([Pair("1", "CC(=O)O", "")], cache=tmp_path), [Pair("2", "CC(=N)O", "")], {})
    assert "CC(=N)O" in [one.smiles for one in find_relatives(ask("an amide"), structures)]
    assert "CC(=N)O" not in [one.smiles for one in find_relatives(ask("an amide", withheld="CC(N)=O"), structures)]


def test_where_the_withheld_molecule_cannot_be_read_all_is_told(structures: Structures) -> None:
    found = [one.smiles for one in find_relatives(ask("an acid", withheld="C("), structures)]
    assert found == [one.smiles for one in find_relatives(ask("an acid"), structures)]


def test_what_the_question_says_tells_relatives_apart(structures: Structures) -> None:
    question = ask("The molecule is the conjugate base of butanoic acid.")
    relatives = find_relatives(question, structures)
    judged = {canonical_smiles(one.text): one for one in judge_relatives(question, relatives)}
    assert judged["CCCC(=O)[O-]"].covers == judged["CCCC(=O)O"].covers > judged["CCC(=O)O"].covers
    assert judged["CCCC(=O)[O-]"].checks > judged["CCCC(=O)O"].checks


def test_there_are_no_relatives_without_neighbours(structures: Structures) -> None:
    question = Question("cap2mol", "an ester of butanoic acid", ())
    assert find_relatives(question, structures) == []
    assert judge_relatives(question, []) == []


def test_a_name_that_is_said_covers_more_than_one_that_all_share() -> None:
    overlap = NameOverlap("an ester of hexadecanoic acid", ["hexadecanoic acid", "butanoic acid", "octanoic acid", ""])
    assert overlap.covers("hexadecanoic acid") == pytest.approx(1.0)
    assert 0.0 < overlap.covers("butanoic acid") < 0.5
    assert overlap.named("hexadecanoic acid") == 1.0
    assert (overlap.named(""), overlap.covers("")) == (UNNAMED, 0.0)


def test_without_any_name_nothing_is_covered() -> None:
    assert NameOverlap("a sugar", []).covers("glucose") == 0.0
    assert cut_pieces("Acid") == frozenset()
