"""Run lengths: an exact inverse pair."""

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechunits.errors import InputError
from speechunits.runs import Runs, deduplicate, expand

INT64 = st.integers(-(2**63), 2**63 - 1)


@given(st.lists(st.integers(0, 3) | INT64, max_size=60))
def test_expand_undoes_deduplicate(units: list[int]) -> None:
    runs = deduplicate(units)
    assert expand(runs).tolist() == units
    # itertools.groupby is the independent implementation.
    assert [(unit, len(list(group))) for unit, group in groupby(units)] == list(
        zip(runs.units.tolist(), runs.lengths.tolist(), strict=True)
    )


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), max_size=40))
def test_deduplicate_undoes_expand_when_neighbours_differ(pairs: list[tuple[int, int]]) -> None:
    distinct = [pair for position, pair in enumerate(pairs) if position == 0 or pair[0] != pairs[position - 1][0]]
    units = np.array([unit for unit, _ in distinct], dtype=np.int64)
    lengths = np.array([length for _, length in distinct], dtype=np.int64)
    runs = deduplicate(expand(Runs(units, lengths)))
    assert runs.units.tolist() == units.tolist()
    assert runs.lengths.tolist() == lengths.tolist()


def test_real_units_survive(golden_utterance) -> None:
    runs = deduplicate(golden_utterance.units)
    assert len(runs) == 370
    assert runs.lengths.sum() == 596
    np.testing.assert_array_equal(expand(runs), golden_utterance.units)


@pytest.mark.parametrize(
    ("units", "lengths", "reason"),
    [([1, 2], [1], "do not go with"), ([1, 2], [1, 0], "position 1 is 0"), ([[1]], [[1]], "int64")],
)
def test_runs_that_cannot_be(units: list[int], lengths: list[int], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        Runs(np.array(units, dtype=np.int64), np.array(lengths, dtype=np.int64))


def test_units_are_a_vector() -> None:
    with pytest.raises(InputError, match="vector"):
        deduplicate(np.zeros((2, 3), dtype=np.int64))
