"""Answers of a local model: several are written, judged and ranked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from molregpt.answering import check_molecule
from molregpt.local.model import LocalModel
from molregpt.local.ranking import Judged
from molregpt.records import Origin, Question
from molregpt.relevance.checks import check_properties
from molregpt.relevance.likeness import caption_similarities, cast_votes, molecule_similarities
from unitlm.generate import Continuation

COPIED = 5
"""Neighbours whose answers are candidates."""

SUPPORTING = 10
"""Neighbours whose answers an answer is compared with."""

_SHARPNESS = 0.05
"""By which a neighbour's relevance, 0 to 1, becomes its vote."""


@dataclass(frozen=True, slots=True)
class Written:
    """A candidate.

    Attributes:
        text: What it says.
        confidence: Mean log-probability of its pieces, the end counted, in nats.
        times: How often the model wrote it; 0 for a neighbour's answer that it did not write.
    """

    text: str
    confidence: float
    times: int


@dataclass(frozen=True, slots=True)
class Proposals:
    """The candidates for one question.

    Attributes:
        usable: Candidates without doubles, the greedy answer first if it is usable, then drawn ones, then the
            neighbours' own; only readable ones where a molecule is asked for.
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
        if not {one.text: one.times for one in self.usable}[text]:
            return "borrowed"
        return "model" if text == self.greedy else "ranked"


def propose(model: LocalModel, question: Question, count: int, seed: int) -> Proposals:
    """Write the greedy answer, draw `count` more, and add the neighbours' own.

    Raises:
        InputError: The query alone is longer than what the model was trained on.
    """
    reading = model.open(question)
    nearest = [question.target_of(example.pair) for example in question.examples[:COPIED]]
    written = [model.write(reading, nearest)]
    if count:
        written += [one for one in model.draw(reading, count, seed) if one.ended]
    answers = [(model.text(reading.prompt, one).strip(), one, 1) for one in written]
    answers += [(text, one, 0) for text, one in zip(nearest, model.score(reading, nearest), strict=True)]
    usable: dict[str, Written] = {}
    problems: list[str] = []
    checked = [_check(question, said) for said, _, _ in answers]
    for (text, problem), (_, continuation, times) in zip(checked, answers, strict=True):
        if problem:
            problems.append(problem)
            continue
        known = usable.get(text, Written(text, _mean(continuation), 0))
        # The first one's confidence stays: alike texts in other pieces differ little.
        usable[text] = replace(known, times=known.times + times)
    greedy, unusable = checked[0]
    return Proposals(tuple(usable.values()), tuple(problems), None if unusable else greedy)


def _check(question: Question, text: str) -> tuple[str, str]:
    """An answer as it is given, and what is wrong with it, if anything."""
    if question.direction == "mol2cap":
        return text, "" if text else "the caption is empty"
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
    near = dict(islice(known.items(), SUPPORTING))
    if question.direction == "mol2cap":
        among, beside = caption_similarities(texts, texts), caption_similarities(texts, list(near))
        checks = _checks_of_captions(question.query, texts)
    else:
        from molindex.smiles import parse_smiles

        molecules, neighbours = [parse_smiles(text) for text in texts], [parse_smiles(text) for text in near]
        among, beside = molecule_similarities(molecules, molecules), molecule_similarities(molecules, neighbours)
        checks = [check_properties(question.query, molecule) for molecule in molecules]
    # Where the model wrote nothing usable, the neighbours stand for one another.
    times = np.array([answer.times for answer in answers], dtype=np.float64)
    votes = times if times.any() else np.ones_like(times)
    consensus = among @ votes / votes.sum()
    support = beside @ cast_votes(np.array(list(near.values())), _SHARPNESS) if near else np.zeros(len(texts))
    trips = model.round_trip(question, texts)
    return [
        Judged(
            text=answer.text,
            confidence=answer.confidence,
            consensus=float(consensus[row]),
            support=float(support[row]),
            relevance=known.get(answer.text, 0.0),
            written=float(answer.times > 0),
            round_trip=trips[row],
            checks=checks[row],
        )
        for row, answer in enumerate(answers)
    ]


def _read_neighbours(question: Question) -> dict[str, float]:
    """The neighbours' usable answers with their relevance, the most relevant first."""
    known: dict[str, float] = {}
    for example in question.examples:
        text, problem = _check(question, question.target_of(example.pair))
        if not problem:
            known.setdefault(text, example.similarity)
    return known


def _checks_of_captions(smiles: str, captions: Sequence[str]) -> list[float]:
    from molindex.smiles import SmilesError, parse_smiles

    try:
        molecule = parse_smiles(smiles)
    except SmilesError:
        return [1.0] * len(captions)
    return [check_properties(caption, molecule) for caption in captions]
