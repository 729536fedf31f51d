"""BLEU against NLTK; intervals against what statistics says of a mean."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.translate.bleu_score import corpus_bleu

from molregpt.metrics.bleu import bleu_of_sums, count_ngrams
from molregpt.metrics.statistics import Resampling, score_rows

TOKENS = st.lists(st.sampled_from("abc"), max_size=9)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(TOKENS, TOKENS), min_size=1, max_size=6), st.integers(1, 4))
@pytest.mark.filterwarnings("ignore:\\nThe hypothesis contains 0 counts:UserWarning")
def test_bleu_is_nltks(rows: list[tuple[list[str], list[str]]], order: int) -> None:
    sums = np.array([count_ngrams(prediction, reference) for prediction, reference in rows], dtype=float).sum(axis=0)
    predictions, references = [p for p, _ in rows], [[r] for _, r in rows]
    # NLTK puts the smallest float in place of a zero precision, whose fourth root is about 1e-77.
    expected = corpus_bleu(references, predictions, weights=[1 / order] * order)
    assert bleu_of_sums(sums, order) == pytest.approx(expected, abs=1e-12)


def test_intervals_of_a_mean_follow_its_standard_error() -> None:
    values = np.random.default_rng(5).normal(3.0, 2.0, (900, 1))
    (score,) = score_rows(np.ones((900, 10)), (), values, Resampling(samples=4000, seed=1))
    error = values.std() / np.sqrt(900)
    assert score.value == pytest.approx(values.mean())
    assert score.low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert score.high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)


def test_intervals_depend_on_the_seed_alone() -> None:
    values = np.random.default_rng(2).random((50, 3))
    ngrams = np.array([count_ngrams("abcdefg"[: 4 + i % 4], "abcdefg") for i in range(50)], dtype=float)
    first = score_rows(ngrams, (2, 4), values, Resampling(seed=7))
    assert first == score_rows(ngrams, (2, 4), values, Resampling(seed=7))
    other = score_rows(ngrams, (2, 4), values, Resampling(seed=8))
    assert [score.value for score in first] == [score.value for score in other]
    assert [score.low for score in first] != [score.low for score in other]
    assert all(score.low <= score.value <= score.high for score in first)


def test_rows_that_do_not_count_are_left_out_of_the_mean() -> None:
    nan = float("nan")
    values = np.array([[1.0, nan], [nan, nan], [3.0, nan], [2.0, nan]])
    some, none = score_rows(np.ones((4, 10)), (), values, Resampling())
    assert (some.value, some.n) == (2.0, 3)
    assert (none.value, none.low, none.high, none.n) == (0.0, 0.0, 0.0, 0)
