"""Reciprocal rank fusion against values worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molindex.errors import InputError
from molindex.fusion import fuse_reciprocal_rank
from molindex.neighbours import Neighbour


def ranking(*keys):
    return [Neighbour(ord(key) - ord("a"), key, 1.0 / (rank + 1)) for rank, key in enumerate(keys)]


def test_scores_by_hand():
    fused = fuse_reciprocal_rank([ranking("a", "b", "c"), ranking("c", "b")], 3)
    assert [(hit.key, hit.row) for hit in fused] == [("c", 2), ("b", 1), ("a", 0)]
    assert [hit.similarity for hit in fused] == [1 / 63 + 1 / 61, 1 / 62 + 1 / 62, 1 / 61]


def test_the_constant_weighs_the_first_ranks():
    rankings = [ranking("a", "b"), ranking("c", "b")]
    assert fuse_reciprocal_rank(rankings, 1, constant=0)[0].key == "a"
    assert fuse_reciprocal_rank(rankings, 1, constant=60)[0].key == "b"


def test_ties_go_to_the_lower_row():
    assert [hit.key for hit in fuse_reciprocal_rank([ranking("d", "b"), ranking("b", "d")], 2)] == ["b", "d"]


def test_rows_of_two_indexes_are_matched_by_key():
    other = [Neighbour(99, "a", 3.0)]
    assert fuse_reciprocal_rank([ranking("a"), other], 5) == [Neighbour(0, "a", 2 / 61)]


@given(st.lists(st.permutations("abcdef").map(lambda keys: ranking(*keys)), min_size=1, max_size=4))
def test_every_row_once_and_sorted(rankings):
    fused = fuse_reciprocal_rank(rankings, 10)
    assert sorted(hit.key for hit in fused) == list("abcdef")
    assert [hit.similarity for hit in fused] == sorted((hit.similarity for hit in fused), reverse=True)
    assert fuse_reciprocal_rank(rankings, 2) == fused[:2]


def test_one_ranking_keeps_its_order():
    assert [hit.key for hit in fuse_reciprocal_rank([ranking("c", "a", "b")], 3)] == ["c", "a", "b"]


@pytest.mark.parametrize(("k", "constant"), [(0, 60), (3, -1)])
def test_bad_numbers_are_refused(k, constant):
    with pytest.raises(InputError):
        fuse_reciprocal_rank([], k, constant)
