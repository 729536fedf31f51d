"""Captions that are put together: what they are made of, and that nothing agrees better with those that vote."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molregpt.data.shipped import sample_pairs
from molregpt.local.composing import compose
from molregpt.metrics.relations import parse_relations, read_list, split_sentences
from molregpt.metrics.tokenization import load_tokenizer
from molregpt.relevance.agreement import Agreement, split_pieces

CAPTIONS = [pair.caption for pair in sample_pairs()]
WORDS = st.lists(st.sampled_from(["a", "is", "an", "acid", "base", ".", ","]), max_size=12).map(" ".join)


@given(st.dictionaries(WORDS, st.floats(0.1, 3.0), min_size=1, max_size=6), st.lists(WORDS | st.text(), max_size=6))
def test_agreement_is_the_mean_likeness(votes: dict[str, float], texts: list[str]) -> None:
    total = sum(votes.values())
    expected = [sum(share * _likeness(text, other) for other, share in votes.items()) / total for text in texts]
    np.testing.assert_allclose(Agreement(votes).measure(texts), expected, atol=1e-9)


def _likeness(left: str, right: str) -> float:
    return float(np.mean([_shared_ngrams(split_pieces(left), split_pieces(right), n) for n in range(1, 5)]))


def _shared_ngrams(left: list[str], right: list[str], n: int) -> float:
    """F1; texts without n-grams are alike."""
    one, two = (
        Counter(tuple(words[start : start + n]) for start in range(len(words) - n + 1)) for words in (left, right)
    )
    return 2.0 * (one & two).total() / (one.total() + two.total()) if one or two else 1.0


def test_names_with_parts_in_common_agree_somewhat() -> None:
    agreement = Agreement({"It is a hydroxyflavanone.": 1.0})
    alike, other = agreement.measure(["It is a dihydroxyflavanone.", "It is a sesquiterpenoid."])
    assert alike > other
    assert split_pieces("a 3-oxo steroid.") == load_tokenizer().tokenize(["a 3-oxo steroid."])[0]


@pytest.mark.parametrize("first", range(0, 40, 8))
def test_a_composed_caption_agrees_better_than_all_that_vote_and_says_nothing_new(first: int) -> None:
    votes = dict.fromkeys(CAPTIONS[first : first + 8], 1.0)
    made = compose(votes)
    agreement = Agreement(votes)
    assert agreement.measure([made])[0] >= agreement.measure(list(votes)).max() - 1e-12
    stated = set().union(*map(parse_relations, votes))
    assert parse_relations(made) <= stated
    assert made == compose(votes)


def test_what_most_say_is_said_and_what_one_says_is_not() -> None:
    definition = "The molecule is a steroid."
    votes = {
        f"{definition} It has a role as a human metabolite and a mouse metabolite. It is a ketone.": 1.0,
        f"{definition} It has a role as a human metabolite. It is a ketone and an acid.": 1.0,
        f"{definition} It has a role as a human metabolite, a poison and a mouse metabolite. It is an acid.": 1.0,
    }
    assert compose(votes) == (
        f"{definition} It has a role as a human metabolite and a mouse metabolite. It is a ketone and an acid."
    )


def test_a_caption_alone_stays_as_it_is() -> None:
    for caption in CAPTIONS[:20]:
        assert compose({caption: 0.3}) == " ".join(caption.split())


def test_a_missing_full_stop_does_not_join_sentences() -> None:
    votes = {"It is an acid. It has a role as a drug": 1.0, "It has a role as a drug. It is isolated from sage": 1.0}
    assert "drug It" not in compose(votes)


def test_lists_are_read_back_as_they_were() -> None:
    sentences = Counter(bool(read_list(one)) for caption in CAPTIONS for one in split_sentences(caption))
    for caption in CAPTIONS:
        for one in split_sentences(caption):
            stated = read_list(one)
            assert stated is None or str(stated) == one
    assert sentences[True] > sentences[False]


@pytest.mark.parametrize(
    "sentence",
    [
        "The molecule is a steroid.",
        "It is isolated from Penicillium.",
        "It is a ketone, and an acid.",  # would be read back without the comma
        "It has a role as a drug",
        "It is a drug; it is sold.",
    ],
)
def test_other_sentences_are_no_lists(sentence: str) -> None:
    assert read_list(sentence) is None
