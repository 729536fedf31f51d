"""Molecules of a local model: several are written, others are known, and all are judged and ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from molindex.smiles import canonical_smiles
from molregpt.answering import check_molecule
from molregpt.local.model import ENDLESS, LocalModel
from molregpt.local.neighbours import COPIED, SUPPORTING, cast_by_relevance
from molregpt.local.ranking import Judged, Weights, rank
from molregpt.records import Origin, Question
from molregpt.relatives.search import Relative, find_relatives
from molregpt.relevance.checks import check_properties
from molregpt.relevance.likeness import molecule_similarities, read_molecule
from molregpt.relevance.words import NameOverlap
from unitlm.generate import Continuation

if TYPE_CHECKING:
    from molregpt.relatives.structures import Structures

CANDIDATES = 8
"""Molecules drawn beside the greedy one."""

RELATIVES = 24
"""Known molecules and forms of them, beside those neighbours, of which the model is asked what it makes."""

Source = Literal["model", "neighbour", "related"]
"""Who knows a molecule: only the model, a neighbour, or a table of molecules, itself or another form of it."""


@dataclass(frozen=True, slots=True)
class Written:
    """A candidate.

    Attributes:
        text: Its SMILES.
        confidence: Mean log-probability of its pieces, the end counted, in nats.
        times: How often the model wrote it; 0 for an answer from elsewhere that it did not write.
        source: Where it comes from, whether or not the model wrote it too.
    """

    text: str
    confidence: float
    times: int
    source: Source = "model"


@dataclass(frozen=True, slots=True)
class Proposals:
    """The candidates for one question.

    Attributes:
        usable: Readable ones without doubles, the greedy answer first if it is one, then drawn ones, the neighbours'
            own, and molecules akin to those.
        problems: One line for each answer that is not usable.
        greedy: What the model would say if it were asked once; None if that is not usable.
    """

    usable: tuple[Written, ...]
    problems: tuple[str, ...]
    greedy: str | None

    def origin(self, text: str) -> Origin:
        """How a usable answer came about.

        Raises:
            KeyError: No candidate says so.
        """
        one = {one.text: one for one in self.usable}[text]
        if not one.times:
            return "borrowed" if one.source == "neighbour" else "related"
        return "model" if text == self.greedy else "ranked"


def propose(
    model: LocalModel, question: Question, count: int, seed: int, structures: Structures | None = None
) -> Proposals:
    """Write the greedy answer, draw `count` more, and add the neighbours' own and molecules akin to those.

    Args:
        model: Writes.
        question: What is asked.
        count: Answers drawn.
        seed: Of the drawing.
        structures: Known molecules; without them none is added.

    Raises:
        InputError: The query alone is longer than what the model was trained on.
    """
    reading = model.open(question)
    nearest = [question.target_of(example.pair) for example in question.examples[:COPIED]]
    written = model.write_several(reading, nearest, count, seed)
    known: list[tuple[str, Source]] = [(text, "neighbour") for text in nearest]
    if structures is not None:
        known += _choose_relatives(question, structures, model.weights("relatives"), nearest)
    scored = model.score(reading, [text for text, _ in known])
    answers: list[tuple[str, Continuation, int, Source]] = [
        (model.text(reading.prompt, one).strip(), one, 1, "model") for one in written
    ]
    answers += [(text, one, 0, source) for (text, source), one in zip(known, scored, strict=True)]
    usable: dict[str, Written] = {}
    problems: list[str] = []
    checked = [_check(said) if one.ended else (said, ENDLESS) for said, one, *_ in answers]
    for (text, problem), (_, continuation, times, source) in zip(checked, answers, strict=True):
        if problem:
            problems.append(problem)
            continue
        same = canonical_smiles(text)
        # The first one's text and confidence stay: alike texts in other pieces differ little.
        held = usable.get(same, Written(text, _mean(continuation), 0, source))
        usable[same] = replace(held, times=held.times + times, source=source if held.source == "model" else held.source)
    greedy, unusable = checked[0]
    return Proposals(tuple(usable.values()), tuple(problems), None if unusable else greedy)


def _choose_relatives(
    question: Question, structures: Structures, weights: Weights, besides: Sequence[str]
) -> list[tuple[str, Source]]:
    """The molecules akin to the neighbours' that are most likely to be meant, by what can be told without a model."""
    own = {question.target_of(example.pair) for example in question.examples}
    ranked = rank(judge_relatives(question, find_relatives(question, structures)), weights)
    best = [one.text for one in ranked if one.text not in besides][:RELATIVES]
    return [(text, "neighbour" if text in own else "related") for text in best]


def judge_relatives(question: Question, relatives: Sequence[Relative]) -> list[Judged]:
    """What can be told of molecules akin to the neighbours' without asking a model, in order."""
    if not relatives:
        return []
    near = dict(islice(_read_neighbours(question).items(), SUPPORTING))
    told = _tell_of_molecules(question, [one.smiles for one in relatives], [one.name for one in relatives], near)
    return [
        Judged(one.smiles, **{name: float(values[row]) for name, values in told.items()})
        for row, one in enumerate(relatives)
    ]


def _tell_of_molecules(
    question: Question, smiles: Sequence[str], names: Sequence[str], near: Mapping[str, float]
) -> dict[str, NDArray[np.float64]]:
    """Judgements of molecules by their neighbours, by what the question says of elements and charge, and by name."""
    beside = molecule_similarities(smiles, list(near))
    overlap = NameOverlap(question.query, names)
    return {
        "support": beside @ cast_by_relevance(near.values()),
        "kinship": beside.mean(axis=1) if near else np.zeros(len(beside)),
        "checks": np.array([check_properties(question.query, read_molecule(one).molecule) for one in smiles]),
        "named": np.array([overlap.named(name) for name in names]),
        "covers": np.array([overlap.covers(name) for name in names]),
    }


def _check(text: str) -> tuple[str, str]:
    """A molecule as it is given, and what is wrong with it, if anything."""
    verdict = check_molecule(text)
    return verdict.text, verdict.problem


def _mean(continuation: Continuation) -> float:
    return continuation.log_probability / (len(continuation.ids) + 1)


def judge(model: LocalModel, question: Question, proposals: Proposals) -> list[Judged]:
    """All judgements of all usable answers, in order."""
    answers = proposals.usable
    if not answers:
        return []
    texts = [answer.text for answer in answers]
    known = _read_neighbours(question)
    relevance = {canonical_smiles(text): of for text, of in reversed(known.items())}
    near = dict(islice(known.items(), SUPPORTING))
    among = molecule_similarities(texts, texts)
    told = _tell_of_molecules(question, texts, [model.name(text) for text in texts], near)
    # Where the model wrote nothing usable, all candidates stand for one another.
    times = np.array([answer.times for answer in answers], dtype=np.float64)
    votes = times if times.any() else np.ones_like(times)
    consensus = among @ votes / votes.sum()
    trips = model.round_trip(question.query, texts)
    return [
        Judged(
            text=answer.text,
            confidence=answer.confidence,
            consensus=float(consensus[row]),
            relevance=relevance.get(canonical_smiles(answer.text), 0.0),
            written=float(answer.times > 0),
            round_trip=trips[row],
            **{name: float(values[row]) for name, values in told.items()},
        )
        for row, answer in enumerate(answers)
    ]


def _read_neighbours(question: Question) -> dict[str, float]:
    """The neighbours' readable molecules with their relevance, the most relevant first."""
    known: dict[str, float] = {}
    for example in question.examples:
        text, problem = _check(question.target_of(example.pair))
        if not problem:
            known.setdefault(text, example.relevance)
    return known
