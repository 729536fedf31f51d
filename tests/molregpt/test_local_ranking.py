"""How candidates are judged and ranked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molindex.smiles import parse_smiles
from molregpt.local.ranking import (
    Judged,
    Weights,
    caption_similarities,
    check_properties,
    molecule_similarities,
    rank,
)

CAPTION = "The molecule is a monocarboxylic acid and a member of phenols."


NAMES = ("confidence", "consensus", "nearness", "round_trip", "checks")
NOTHING = dict.fromkeys(NAMES, 0.0)


def judged(text: str, **values: float) -> Judged:
    return Judged(text, **{**NOTHING, **values})


@pytest.mark.parametrize("name", NAMES)
def test_each_judgement_decides_when_it_alone_counts(name: str) -> None:
    weights = Weights(**{**NOTHING, name: 1.0})
    others = set(NAMES) - {name}
    better, worse = judged("better", **{name: 0.2}), judged("worse", **dict.fromkeys(others, 5.0))
    assert [one.text for one in rank([worse, better], weights)] == ["better", "worse"]


def test_equal_candidates_stay_in_order() -> None:
    assert [one.text for one in rank([judged("a"), judged("b"), judged("c")], Weights())] == ["a", "b", "c"]


def test_captions_are_alike_by_their_ngrams() -> None:
    other = "It has a role as an antibacterial agent."
    table = caption_similarities([CAPTION, CAPTION.upper()], [CAPTION, other])
    assert table.shape == (2, 2)
    assert table[0, 0] == table[1, 0] == 1.0
    assert 0.0 < table[0, 1] < 0.2
    # words a b against a c: one of two words, none of the pairs; both lack longer n-grams
    assert caption_similarities(["a b"], ["a c"])[0, 0] == pytest.approx((0.5 + 0.0 + 1.0 + 1.0) / 4)
    assert caption_similarities(["a"], []).shape == (1, 0)


@given(st.lists(st.text("ab c", max_size=12), min_size=1, max_size=4))
def test_similarity_of_captions_is_symmetric_and_bounded(texts: list[str]) -> None:
    table = caption_similarities(texts, texts)
    assert (table == table.T).all()
    assert ((table >= 0.0) & (table <= 1.0)).all()
    assert (table.diagonal() == 1.0).all()


def test_molecules_are_alike_by_their_fingerprints() -> None:
    ethanol, propanol, benzene = (parse_smiles(smiles) for smiles in ("CCO", "CCCO", "c1ccccc1"))
    table = molecule_similarities([ethanol, benzene], [parse_smiles("OCC"), propanol, benzene])
    assert table[0, 0] == table[1, 2] == 1.0
    assert table[0, 2] < table[0, 1] < 1.0


@pytest.mark.parametrize(
    ("caption", "smiles", "share"),
    [
        ("The molecule is a chlorobenzene.", "Clc1ccccc1", 1.0),
        ("The molecule is a chlorobenzene.", "Brc1ccccc1", 0.5),
        ("The molecule is an organofluorine compound.", "FC(F)F", 1.0),
        ("The molecule is a monocarboxylic acid anion. It is a conjugate base of an acetic acid.", "CC(=O)[O-]", 1.0),
        ("The molecule is a monocarboxylic acid anion. It is a conjugate base of an acetic acid.", "CC(=O)O", 0.0),
        ("The molecule is a citrate(3-).", "OC(CC([O-])=O)(CC([O-])=O)C([O-])=O", 1.0),
        ("The molecule is a citrate(3-).", "OC(CC([O-])=O)(CC([O-])=O)C(O)=O", 0.0),
        ("The molecule is an ammonium ion, an organic cation.", "C[NH3+]", 1.0),
        ("The molecule is a zwitterion. It is a conjugate base of a glycinium.", "[NH3+]CC([O-])=O", 1.0),
        ("The molecule is an alkane.", "CC", 1.0),
    ],
)
def test_what_a_caption_says_of_elements_and_charge_is_checked(caption: str, smiles: str, share: float) -> None:
    assert check_properties(caption, parse_smiles(smiles)) == share
