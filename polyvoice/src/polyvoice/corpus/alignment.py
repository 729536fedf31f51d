"""Which words a stretch of a long recording says, told from lengths alone: no recogniser, no dictionary.

People pause where they punctuate, and say letters at about the same rate all along. Of all ways to deal clauses out to
the stretches between pauses, in order, the likeliest is found by dynamic programming, as Gale and Church ("A Program
for Aligning Sentences in Bilingual Corpora", 1993) found sentences of two languages: by their lengths.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from polyvoice.corpus.splits import UNSPACED, join_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from speechunits.segments import Segment

_CLAUSE_ENDS = re.compile(rf"(?<=[.?!;:,])\s+|(?<=[。？！；：，])|(?<={UNSPACED.pattern}[.?!;,])")
_STRONG = tuple(".?!;:。？！；：")
_NOT_SAID = re.compile(r"[\W_]+")
_DIGIT = re.compile(r"\d")

# A digit is read as a word of so many letters; where a letter is a syllable, as one.
_LETTERS_A_DIGIT = 5
# What a clause costs whose stretches are e times too long or short; of long clauses that is more surprising.
_RATE_COST = 0.2
_SURE_LETTERS = 40
# What cuts cost: each one, between words that only a comma parts, and where the pause is short.
_CUT_COST, _COMMA_COST, _HURRY_COST, _PAUSE_S = 0.02, 0.15, 0.8, 0.4
_LONG_COST = 0.3  # for each second above the length that is wanted
# Stretches and clauses that one piece may be made of, and how far both may drift apart.
_STRETCHES, _CLAUSES, _DRIFT_S = 12, 6, 20.0


@dataclass(frozen=True, slots=True)
class SpokenPiece:
    """A part of a recording.

    Attributes:
        start_s: where its first word begins.
        stop_s: where its last word ends.
        text: what is said.
        times: so many times as long as its words would be at the whole recording's rate; far from 1 it is doubtful.
    """

    start_s: float
    stop_s: float
    text: str
    times: float


def split_clauses(text: str) -> list[str]:
    """The parts of a text between which one pauses: it can be joined again with spaces, or, in Chinese, without."""
    return [clause.strip() for clause in _CLAUSE_ENDS.split(text) if _NOT_SAID.sub("", clause)]


def count_letters(clause: str) -> float:
    """How long it takes to say, in letters."""
    wide = UNSPACED.search(clause) is not None
    said = _DIGIT.sub("x" if wide else "x" * _LETTERS_A_DIGIT, clause)
    return len(_NOT_SAID.sub("", said)) + 0.5


def align_clauses(speech: Sequence[Segment], text: str, longest_s: float) -> list[SpokenPiece]:
    """Deal a recording's words out to its stretches of speech.

    Args:
        speech: the stretches, in order, as `find_sound` or `speechunits.segments.find_speech` finds them.
        text: what is said in all of them.
        longest_s: pieces should not be longer, as far as there are pauses at the ends of clauses.

    Returns:
        The pieces in order: all stretches, all words. None where there is nothing to choose: fewer than two stretches
        or clauses, or far more of one than of the other.
    """
    clauses = split_clauses(text)
    if len(speech) < 2 or len(clauses) < 2:
        return []
    seconds = np.array([stretch.duration_s for stretch in speech])
    letters = np.array([count_letters(clause) for clause in clauses])
    rate = float(letters.sum() / seconds.sum())
    pauses = [after.start_s - before.stop_s for before, after in pairwise(speech)]
    clock, said = (np.concatenate(([0.0], np.cumsum(each))) for each in (seconds, letters / rate))

    def lengths_s(here: tuple[int, int], there: tuple[int, int]) -> tuple[float, float]:
        """Of the speech between two places, and of the clauses between them at the recording's rate."""
        return float(clock[there[0]] - clock[here[0]]), float(said[there[1]] - said[here[1]])

    end = (len(speech), len(clauses))
    cheapest: dict[tuple[int, int], float] = {(0, 0): 0.0}
    before: dict[tuple[int, int], tuple[int, int]] = {}
    for here in ((i, j) for i in range(end[0]) for j in range(end[1])):
        if here not in cheapest:
            continue
        for there in ((i, j) for i in _next(here[0], end[0], _STRETCHES) for j in _next(here[1], end[1], _CLAUSES)):
            if (there[0] == end[0]) != (there[1] == end[1]) or abs(clock[there[0]] - said[there[1]]) > _DRIFT_S:
                continue
            length_s, expected_s = lengths_s(here, there)
            cost = cheapest[here] + _CUT_COST + _LONG_COST * max(0.0, length_s - longest_s)
            cost += _RATE_COST * float(np.log(length_s / expected_s) ** 2) * min(expected_s * rate, _SURE_LETTERS)
            if there != end:
                cost += _HURRY_COST * max(0.0, _PAUSE_S - pauses[there[0] - 1])
                cost += 0.0 if clauses[there[1] - 1].endswith(_STRONG) else _COMMA_COST
            if cost < cheapest.get(there, np.inf):
                cheapest[there], before[there] = cost, here
    if end not in before:
        return []
    pieces, there = [], end
    while there != (0, 0):
        here = before[there]
        length_s, expected_s = lengths_s(here, there)
        words = join_texts(clauses[here[1] : there[1]])
        pieces.append(SpokenPiece(speech[here[0]].start_s, speech[there[0] - 1].stop_s, words, length_s / expected_s))
        there = here
    return pieces[::-1]


def _next(position: int, end: int, most: int) -> range:
    return range(position + 1, min(position + most, end) + 1)
