"""Answers of a local model: several are written, judged and ranked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from molregpt.answering import check_molecule
from molregpt.local.model import LocalModel
from molregpt.local.ranking import Judged, caption_similarities, check_properties, molecule_similarities
from molregpt.records import Question
from unitlm.generate import Continuation

NEAREST = 3
"""Neighbours whose answers an answer is compared with."""


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
        shown: Answers of the neighbours in the context, the nearest first.
    """

    usable: tuple[Written, ...]
    problems: tuple[str, ...]
    shown: tuple[str, ...]


def propose(model: LocalModel, question: Question, count: int, seed: int) -> Proposals:
    """Write the greedy answer, draw `count` more, and add the neighbours' own.

    Raises:
        InputError: The query alone is longer than what the model was trained on.
    """
    reading = model.open(question)
    shown = tuple(question.target_of(pair) for pair in reading.prompt.shown)
    written = [model.write(reading, shown)]
    if count:
        written += [one for one in model.draw(reading, count, seed) if one.ended]
    answers = [(model.text(reading.prompt, one).strip(), one, 1) for one in written]
    answers += [(text, one, 0) for text, one in zip(shown, model.score(reading, shown), strict=True)]
    usable: dict[str, Written] = {}
    problems: list[str] = []
    for said, continuation, times in answers:
        text, problem = _check(question, said)
        if problem:
            problems.append(problem)
            continue
        known = usable.get(text, Written(text, _mean(continuation), 0))
        # The first one's confidence stays: alike texts in other pieces differ little.
        usable[text] = replace(known, times=known.times + times)
    return Proposals(tuple(usable.values()), tuple(problems), shown)


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
    shown = proposals.shown[:NEAREST]
    if question.direction == "mol2cap":
        among, near = caption_similarities(texts, texts), caption_similarities(texts, shown)
        checks = _checks_of_captions(question.query, texts)
    else:
        from molindex.smiles import parse_smiles

        molecules = [parse_smiles(text) for text in texts]
        neighbours = [parse_smiles(text) for text in shown if not check_molecule(text).problem]
        among, near = molecule_similarities(molecules, molecules), molecule_similarities(molecules, neighbours)
        checks = [check_properties(question.query, molecule) for molecule in molecules]
    # Where the model wrote nothing usable, the neighbours stand for one another.
    times = np.array([answer.times for answer in answers], dtype=np.float64)
    votes = times if times.any() else np.ones_like(times)
    consensus = among @ votes / votes.sum()
    nearness = near.mean(axis=1) if near.shape[1] else np.zeros(len(texts))
    trips = model.round_trip(question, texts)
    return [
        Judged(answer.text, answer.confidence, float(consensus[row]), float(nearness[row]), trips[row], checks[row])
        for row, answer in enumerate(answers)
    ]


def _checks_of_captions(smiles: str, captions: Sequence[str]) -> list[float]:
    from molindex.smiles import SmilesError, parse_smiles

    try:
        molecule = parse_smiles(smiles)
    except SmilesError:
        return [1.0] * len(captions)
    return [check_properties(caption, molecule) for caption in captions]
