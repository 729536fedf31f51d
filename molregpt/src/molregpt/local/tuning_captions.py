"""Chooses, on held-out pairs, how many of the votes on a caption are the model's, and how many its neighbours'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.progress import track

from molregpt.console import messages
from molregpt.errors import InputError
from molregpt.local.captions import DRAWN, Voters, gather
from molregpt.local.composing import compose
from molregpt.local.model import LocalModel
from molregpt.metrics.bleu import LONGEST, bleu_of_sums, count_ngrams
from molregpt.metrics.tokenization import load_tokenizer
from molregpt.records import Question
from molregpt.relevance.likeness import caption_similarities

SHARES = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 1.0)
"""Those that are tried."""


@dataclass(frozen=True, slots=True)
class TunedShare:
    """What tuning found for captions.

    Attributes:
        share: Of the votes, the model's.
        nearest: Score of the nearest neighbours' captions; see `molregpt.local.tuning.tune`.
        before: Score with the share that the model had.
        after: Score with the new one.
    """

    share: float
    nearest: float
    before: float
    after: float


def tune_share(
    model: LocalModel, questions: Sequence[Question], references: Sequence[str], seed: int
) -> TunedShare | None:
    """Write captions once, and put them together with every share; None where nothing speaks for any caption."""
    told = track(questions, "writing captions", len(questions), console=messages(), transient=True)
    gathered = [(_gather(model, one, seed), reference) for one, reference in zip(told, references, strict=True)]
    cases = [(voters, reference) for voters, reference in gathered if voters and voters.votes(0.5)]
    if not cases:
        return None
    wanted = [reference for _, reference in cases]
    scores = {}
    present = model.composing.model
    shares = sorted({*SHARES, present})
    for share in track(shares, "putting captions together", console=messages(), transient=True):
        scores[share] = _score([compose(voters.votes(share)) for voters, _ in cases], wanted)
    best = max(shares, key=lambda share: (scores[share], share == present))
    nearest = _score([next(iter(voters.neighbours), "") for voters, _ in cases], wanted)
    return TunedShare(best, nearest, scores[present], scores[best])


def _gather(model: LocalModel, question: Question, seed: int) -> Voters | None:
    try:
        return gather(model, question, DRAWN, seed)
    except InputError:  # too long for the model, which then copies
        return None


def _score(captions: Sequence[str], references: Sequence[str]) -> float:
    tokenizer = load_tokenizer()
    pairs = zip(tokenizer.tokenize(captions), tokenizer.tokenize(references), strict=True)
    sums = np.array([count_ngrams(said, wanted) for said, wanted in pairs], dtype=np.float64).sum(axis=0)
    overlap = np.mean([caption_similarities([one], [other]) for one, other in zip(captions, references, strict=True)])
    return (float(bleu_of_sums(sums, LONGEST)) + float(overlap)) / 2.0
