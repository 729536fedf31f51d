"""Ratios of neighbouring turns, exponents, clocks: against numbers that are known."""

from __future__ import annotations

import pytest
from bench.pairs import Pairs, Spread, fit_exponent, now, run_pairs


def test_a_ratio_is_that_of_neighbouring_turns() -> None:
    # Both sides slow down to a half in the third turn, as on a machine that becomes busy: the ratio does not care.
    pairs = Pairs((1.0, 2.0, 4.0), (3.0, 8.0, 12.0))
    assert pairs.ratios == (3.0, 4.0, 3.0)
    assert Spread.of(pairs.ratios) == Spread(3.0, 3.0, 4.0)


def test_the_median_of_an_even_number_lies_between() -> None:
    assert Spread.of([4.0, 1.0, 2.0, 3.0]) == Spread(1.0, 2.5, 4.0)


def test_without_a_peer_there_is_no_ratio() -> None:
    assert Pairs((1.0, 2.0)).ratios == ()


@pytest.mark.parametrize(("ours", "theirs"), [((), ()), ((1.0, 2.0), (1.0,)), ((0.0,), (1.0,)), ((1.0,), (-1.0,))])
def test_what_makes_no_pairs_is_refused(ours: tuple[float, ...], theirs: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="turn"):
        Pairs(ours, theirs)


def test_the_sides_take_turns_and_the_first_of_each_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    clock = iter(range(100))
    monkeypatch.setattr("bench.pairs.now", lambda _: float(next(clock)))

    def turn(side: str) -> str:
        said.append(side)
        return f"{side}{len(said)}"

    compared = run_pairs(lambda: turn("A"), lambda: turn("B"), turns=3, work=2.0, theirs_work=0.5)
    assert "".join(said) == "AB" + "ABABAB"
    assert (compared.ours, compared.theirs) == ("A1", "B2")
    assert compared.pairs == Pairs((0.5,) * 3, (2.0,) * 3)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0])
def test_the_exponent_of_a_power_is_found(exponent: float) -> None:
    sizes = [10.0, 300.0, 7_000.0]
    assert fit_exponent(sizes, [5.0 * size**exponent for size in sizes]) == pytest.approx(exponent, abs=1e-12)


def test_the_exponent_is_the_slope_of_least_squares() -> None:
    # Logarithms to base 10: x = 0, 1, 2 and y = 0, 0, 3, whose least-squares slope is 1.5.
    assert fit_exponent([1.0, 10.0, 100.0], [1.0, 1.0, 1_000.0]) == pytest.approx(1.5)


@pytest.mark.parametrize("sizes", [[], [5.0], [5.0, 5.0]])
def test_one_size_has_no_exponent(sizes: list[float]) -> None:
    assert fit_exponent(sizes, [1.0] * len(sizes)) is None


def test_an_unknown_clock_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown clock 'sun'"):
        now("sun")  # type: ignore[arg-type]
