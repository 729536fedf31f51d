"""The figures of the unit report, each beside an answer that is known."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechunits.errors import InputError
from speechunits.extracted import Extracted
from speechunits.listing import Spoken
from speechunits.report import (
    choose_pairs,
    edit_distance,
    entropy_bits,
    mutual_information_bits,
    report_units,
    speaker_information,
)


def levenshtein(one: list[int], other: list[int]) -> int:
    """The textbook table, as an independent implementation."""
    row = list(range(len(other) + 1))
    for position, unit in enumerate(one, start=1):
        before, row[0] = row[0], position
        for place, its in enumerate(other, start=1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (unit != its))
    return row[-1]


@settings(max_examples=100, deadline=None)
@given(one=st.lists(st.integers(0, 4), max_size=9), other=st.lists(st.integers(0, 4), max_size=9))
def test_edit_distance(one: list[int], other: list[int]) -> None:
    expected = levenshtein(one, other) / max(len(one), len(other), 1)
    assert edit_distance(np.array(one, dtype=np.int64), np.array(other, dtype=np.int64)) == pytest.approx(expected)


def test_entropy() -> None:
    assert entropy_bits(np.array([5, 5, 5, 5, 0])) == pytest.approx(2)
    assert entropy_bits(np.array([7, 0])) == 0
    assert entropy_bits(np.array([1, 3])) == pytest.approx(0.25 * 2 + 0.75 * math.log2(4 / 3))


def test_mutual_information() -> None:
    assert mutual_information_bits(np.array([[10, 0], [0, 10]])) == pytest.approx(1)
    assert mutual_information_bits(np.array([[10, 20], [20, 40]])) == pytest.approx(0, abs=1e-12)
    assert mutual_information_bits(np.diag([1, 1, 1, 1])) == pytest.approx(2)


def utterance(name: str, units: list[int], duration_s: float = 1.0) -> Extracted:
    return Extracted(name, duration_s, np.array(units, dtype=np.int64), None)


def test_a_report_of_four_utterances() -> None:
    """Two sentences by two speakers; the second speaker says the second unit of sentence x in another way."""
    utterances = [
        utterance("ax", [0, 0, 1, 1, 2, 2]),
        utterance("bx", [0, 3, 3, 2], 2.0),
        utterance("ay", [4, 5, 5, 5]),
        utterance("by", [4, 4, 5]),
    ]
    spoken = {name: Spoken(sentence=name[1], speaker=name[0]) for name in ("ax", "bx", "ay", "by")}
    report = report_units(utterances, spoken, clusters=10)
    assert report.utterances == 4
    # 012 and 032 differ in one of three, 45 and 45 in none.
    assert (report.same_sentence, report.same_sentence_pairs) == (pytest.approx((1 / 3 + 0) / 2), 2)
    # 012 and 45 have nothing in common, nor have 032 and 45.
    assert (report.same_speaker, report.same_speaker_pairs) == (1.0, 2)
    assert report.units_per_second == pytest.approx((3 + 3 + 2 + 2) / 5)
    counts = np.array([3, 2, 3, 2, 3, 4])
    assert report.perplexity == pytest.approx(2 ** entropy_bits(counts))
    assert (report.clusters, report.used) == (10, 6)
    assert report.most_bits == pytest.approx(entropy_bits(np.array([10, 7])))


def test_perplexity_of_units_that_are_all_alike() -> None:
    spoken = {"a": Spoken("x", "A")}
    assert report_units([utterance("a", list(range(8)) * 5)], spoken, 8).perplexity == pytest.approx(8)
    report = report_units([utterance("a", [3] * 50)], spoken, 8)
    assert (report.perplexity, report.used, report.units_per_second) == (pytest.approx(1), 1, 1.0)
    assert math.isnan(report.same_sentence)
    assert math.isnan(report.same_speaker)
    assert (report.speaker_bits, report.most_bits) == (0, 0)


def speakers_and_counts(tells: bool) -> tuple[list[str], np.ndarray]:
    """60 utterances of 4 speakers, 50 frames of 40 units; each utterance has favourites of its own."""
    generator = np.random.default_rng(0)
    speakers = [f"speaker {number % 4}" for number in range(60)]
    counts = np.zeros((60, 40), dtype=np.int64)
    for number in range(60):
        # Utterances favour some units, as sentences do, so that frames are not independent.
        shares = generator.dirichlet(np.full(40, 0.3))
        if tells:
            shares = np.where(np.arange(40) // 10 == number % 4, shares + 1e-9, 0)
        counts[number] = generator.multinomial(50, shares / shares.sum())
    return speakers, counts


def test_units_that_name_their_speaker_tell_all() -> None:
    speakers, counts = speakers_and_counts(tells=True)
    measured, chance = speaker_information(counts, speakers, np.random.default_rng(0))
    assert measured == pytest.approx(2, abs=1e-9)
    assert chance < 0.6


def test_units_that_know_nothing_of_their_speaker_tell_nothing() -> None:
    """Few data always seem to tell something; what chance tells is that much, too."""
    speakers, counts = speakers_and_counts(tells=False)
    measured, chance = speaker_information(counts, speakers, np.random.default_rng(0))
    assert measured > 0.1
    assert abs(measured - chance) < 0.03


def test_all_pairs_or_a_fair_choice() -> None:
    groups, kinds = list("xxyxy"), list("ABAAB")
    expected = {(a, b) for a, b in combinations(range(5), 2) if groups[a] == groups[b] and kinds[a] != kinds[b]}
    assert set(choose_pairs(groups, kinds, np.random.default_rng(0))) == expected
    many = choose_pairs(["one"] * 5_000 + ["two"] * 5_000, [str(n) for n in range(10_000)], np.random.default_rng(0))
    assert len(many) == len(set(many)) == 10_000
    assert all((one < 5_000) == (other < 5_000) and one != other for one, other in many)
    assert 0.3 < sum(one < 5_000 for one, _ in many) / 10_000 < 0.7


def test_what_cannot_be_reported() -> None:
    spoken = {"a": Spoken("x", "A")}
    with pytest.raises(InputError, match="no units to report"):
        report_units([], spoken, 8)
    with pytest.raises(InputError, match="b: is not in the list"):
        report_units([utterance("b", [1])], spoken, 8)
    with pytest.raises(InputError, match="a: has no units"):
        report_units([Extracted("a", 1.0, None, np.zeros((1, 1), np.int64))], spoken, 8)
