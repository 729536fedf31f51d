"""Chooses, on held-out pairs, what counts how much in an answer, and writes it into the model's card.

Molecules are written and judged once. The weights of the judgements are then those under which a softmax over the
candidates, a smooth form of choosing, picks what is worth most; the score itself is made of steps and has no gradient.
Captions are written once, too, and put together with several shares of the votes for the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from molregpt.console import messages
from molregpt.data.table import read_pairs
from molregpt.database import Database, join_tables, keep_readable
from molregpt.errors import InputError
from molregpt.local.candidates import CANDIDATES, judge, judge_relatives, propose
from molregpt.local.model import TUNED, LocalModel, load_local_model
from molregpt.local.neighbours import SUPPORTING
from molregpt.local.ranking import Judged, Stage, Weights
from molregpt.local.tuning_captions import TunedShare, tune_share
from molregpt.records import Direction, Pair, Question
from molregpt.relatives.search import find_relatives
from molregpt.relatives.structures import Structures
from molregpt.relevance.likeness import are_same, molecule_similarities, read_molecule
from molregpt.retrieval.strategies import create_retriever
from unitlm.checkpoint import MANIFEST, read_manifest
from unitlm.files import Json, write_json

Floats = NDArray[np.float64]

_NAMES = tuple(field.name for field in fields(Weights))
_STEPS, _RATE, _SHRINKING = 400, 0.05, 1e-3
_SAME_FOR_ALL = 1e-9
"""A judgement that spreads less tells no candidates apart and counts nothing."""

STAGES: tuple[Stage, ...] = ("relatives", "cap2mol")
"""In this order: how relatives are ranked decides which of them are candidates in the end."""


@dataclass(frozen=True, slots=True)
class _Case:
    """One held-out pair: judgements [N, 10] of its candidates, and what each is worth, [N, 2] and [N]."""

    judgements: Floats
    scores: Floats
    worth: Floats


@dataclass(frozen=True, slots=True)
class Tuned:
    """What tuning found for one stage.

    Attributes:
        weights: The best weighting.
        greedy: Score of the first candidates, which are the greedy answers where those are usable; see `tune`.
        before: Score with the weights that the model had.
        after: Score with the new ones.
        best_possible: Score if the best candidate were always chosen.
    """

    weights: Weights
    greedy: float
    before: float
    after: float
    best_possible: float


@dataclass(frozen=True, slots=True)
class Found:
    """What tuning found: for captions the model's share of the votes, for molecules the weights of every stage."""

    captions: TunedShare
    molecules: dict[Stage, Tuned]


def tune(folder: Path, tables: Sequence[Path], held_out: Path, *, rows: int, seed: int) -> Found:
    """Choose what counts how much and write it into the card of the model in `folder`.

    Captions are scored by the mean of corpus BLEU-4 (SciBERT tokens) and the mean n-gram F1; molecules by the mean of
    three fingerprint similarities plus half the share of exact matches.

    Args:
        folder: A model of `molregpt train`.
        tables: The pool in which neighbours are found.
        held_out: Pairs that the model was not trained on.
        rows: The first so many of them are used.
        seed: Seed of the candidates.

    Raises:
        InputError: A table or the model cannot be read, `rows` is not positive, or no held-out pair has candidates.
    """
    if rows < 1:
        raise InputError(f"tuning needs at least one held-out pair, not {rows}")
    model = load_local_model(folder)
    pool = Database(join_tables([(table.name, read_pairs(table)) for table in tables]))
    structures = Structures.beside(pool)
    watched = keep_readable(read_pairs(held_out)[:rows])
    captions = tune_share(model, _ask(pool, watched, "mol2cap"), [pair.caption for pair in watched], seed)
    if captions is None:
        raise InputError(f"{held_out}: no pair has a caption that could be put together")
    model.card["composing"] = {"model": captions.share}
    questions, found = _ask(pool, watched, "cap2mol"), {}
    for stage in STAGES:
        if stage == "relatives":
            judged = (judge_relatives(one, find_relatives(one, structures)) for one in questions)
        else:
            judged = (_judge_answers(model, one, seed, structures) for one in questions)
        told = track(judged, f"judging candidates, {stage}", len(questions), console=messages(), transient=True)
        cases = [_case(candidates, pair.smiles) for pair, candidates in zip(watched, told, strict=True) if candidates]
        if not cases:
            raise InputError(f"{held_out}: no pair has a candidate ({stage})")
        found[stage] = _tune(cases, model.weights(stage))
        stored = cast("dict[str, Json]", model.card.get("ranking", {}))
        known: dict[str, Json] = {name: weights for name, weights in stored.items() if name in STAGES}
        model.card["ranking"] = {**known, stage: cast(Json, asdict(found[stage].weights))}
    manifest = dict(read_manifest(folder))
    card = cast(dict[str, Json], manifest["metadata"]) | {key: model.card[key] for key in TUNED}
    write_json(folder / MANIFEST, {**manifest, "metadata": card})
    return Found(captions, found)


def _ask(pool: Database, pairs: Sequence[Pair], direction: Direction) -> list[Question]:
    retriever = create_retriever("learned", pool, direction)
    questions = []
    for pair in pairs:
        query = pair.asked(direction)
        examples = retriever.retrieve(query, SUPPORTING, pool.rows_of(key=pair.key, smiles=pair.smiles))
        questions.append(Question(direction, query, tuple(examples), withheld=pair.smiles))
    return questions


def _judge_answers(model: LocalModel, question: Question, seed: int, structures: Structures) -> list[Judged]:
    try:
        return judge(model, question, propose(model, question, CANDIDATES, seed, structures))
    except InputError:  # too long for the model, which then copies
        return []


def _case(judged: Sequence[Judged], wanted: str) -> _Case:
    judgements = np.array([[getattr(candidate, name) for name in _NAMES] for candidate in judged])
    texts = [candidate.text for candidate in judged]
    likeness = molecule_similarities(texts, [wanted])
    molecules, target = [read_molecule(text).molecule for text in texts], read_molecule(wanted).molecule
    same = [float(are_same(molecule, target)) for molecule in molecules]
    scores = np.column_stack([likeness, same])
    return _Case(judgements, scores, scores @ np.array([1.0, 0.5]))


def _tune(cases: Sequence[_Case], present: Weights) -> Tuned:
    fitted = _fit(cases)

    def score(weights: Floats) -> float:
        return _score(cases, [int((case.judgements @ weights).argmax()) for case in cases])

    present_row = np.array([getattr(present, name) for name in _NAMES])
    before, after = score(present_row), score(fitted)
    row, after = (fitted, after) if after > before else (present_row, before)
    return Tuned(
        Weights(**{name: round(float(value), 4) for name, value in zip(_NAMES, row, strict=True)}),
        greedy=_score(cases, [0] * len(cases)),
        before=before,
        after=after,
        best_possible=_score(cases, [int(case.worth.argmax()) for case in cases]),
    )


def _fit(cases: Sequence[_Case]) -> Floats:
    """The weights under which the candidate that a softmax over the candidates picks is worth most."""
    longest = max(len(case.judgements) for case in cases)
    spread = np.concatenate([case.judgements - case.judgements.mean(axis=0) for case in cases]).std(axis=0)
    tells = spread > _SAME_FOR_ALL
    spread = np.where(tells, spread, 1.0)
    judgements = torch.zeros(len(cases), longest, len(_NAMES))
    worth, absent = torch.zeros(len(cases), longest), torch.ones(len(cases), longest, dtype=torch.bool)
    for row, case in enumerate(cases):
        count = len(case.worth)
        judgements[row, :count] = torch.from_numpy(case.judgements / spread)
        worth[row, :count], absent[row, :count] = torch.from_numpy(case.worth), False
    weights = torch.ones(len(_NAMES), requires_grad=True)
    optimizer = torch.optim.Adam([weights], lr=_RATE)
    for _ in range(_STEPS):
        chances = torch.softmax((judgements @ weights).masked_fill(absent, -torch.inf), dim=1)
        loss = _SHRINKING * weights.square().sum() - (chances * worth).sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return np.where(tells, weights.detach().numpy() / spread, 0.0)


def _score(cases: Sequence[_Case], chosen: Sequence[int]) -> float:
    rows = np.array([case.scores[index] for case, index in zip(cases, chosen, strict=True)])
    return float(rows[:, 0].mean() + 0.5 * rows[:, 1].mean())
