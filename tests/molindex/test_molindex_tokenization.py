"""The tokens of captions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molindex.errors import InputError
from molindex.tokenization import tokenize


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("A 17beta-hydroxy steroid.", ["a", "17beta", "hydroxy", "17beta-hydroxy", "steroid"]),
        ("17β-estradiol", ["17beta", "estradiol", "17beta-estradiol"]),
        ("3,4-dihydroxy", ["3,4", "dihydroxy", "3,4-dihydroxy"]),
        ("positions 3, 4 and 17.", ["positions", "3", "4", "and", "17"]),
        ("(2S,3R)-3-hydroxy", ["(2s,3r)", "3", "hydroxy", "(2s,3r)-3-hydroxy"]),
        ("beta-D-Galp-(1→4)-GlcNAc", ["beta", "d", "galp", "(1->4)", "glcnac", "beta-d-galp-(1->4)-glcnac"]),
        ("citrate(3-)", ["citrate", "(3-)", "citrate(3-)"]),
        ("(+)-catechin", ["(+)", "catechin", "(+)-catechin"]),
        ("Delta(4) N(6)", ["delta(4)", "n(6)"]),
        ("2',3'‑cyclic", ["2',3'", "cyclic", "2',3'-cyclic"]),
        ("bicyclo[4.3.0]nonane", ["bicyclo", "[4.3.0]", "nonane", "bicyclo[4.3.0]nonane"]),
        ("EC 1.1.1.146 inhibitor", ["ec", "1.1.1.146", "inhibitor"]),
        ("betaine", ["betaine"]),
        ("α,β-unsaturated", ["alpha", "beta", "unsaturated", "alpha,beta-unsaturated"]),
        (" . - ", []),
    ],
)
def test_chemistry_keeps_what_names_are_made_of(text, tokens):
    assert tokenize(text, "chemistry") == tokens


def test_characters_are_grouped_within_words():
    assert tokenize("Ab cde", "char") == ["_ab", "ab_", "_ab_", "_cd", "cde", "de_", "_cde", "cde_", "_cde_"]
    assert tokenize("a", "char") == ["_a_"]


@given(st.text(max_size=60))
def test_no_token_holds_white_space_or_nothing(text):
    for tokenizer in ("chemistry", "whitespace", "char"):
        assert all(token and not any(c.isspace() for c in token) for token in tokenize(text, tokenizer))


@given(st.text(st.sampled_from("abγ12,()->'-. "), max_size=40))
def test_case_does_not_matter_to_chemistry(text):
    assert tokenize(text.upper(), "chemistry") == tokenize(text, "chemistry")


def test_an_unknown_tokenizer_is_refused():
    with pytest.raises(InputError, match="unknown tokenizer 'bpe'; known are chemistry, whitespace, char"):
        tokenize("x", "bpe")


def test_pieces_are_all_different_runs_of_five_characters_across_words() -> None:
    assert tokenize("A bAbabab", "pieces") == ["a bab", " baba", "babab", "ababa"]
    assert tokenize("acid", "pieces") == []
