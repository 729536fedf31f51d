"""How candidates are judged and ranked."""

from __future__ import annotations

from dataclasses import fields

import pytest

from molregpt.local.ranking import Judged, Weights, rank

NAMES = tuple(field.name for field in fields(Weights))
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
