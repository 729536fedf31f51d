"""A language model of ours in this process: no server, no key, a laptop's CPU."""

from __future__ import annotations

import torch

from molregpt.errors import InputError
from molregpt.local.candidates import judge, propose
from molregpt.local.model import LocalModel
from molregpt.local.ranking import rank
from molregpt.records import Answer, Question

CANDIDATES = 8
"""Answers drawn beside the greedy one."""

_SEED = 0


class LocalBackend:
    """Answers with a model of `molregpt train`, the retrieved examples in its context.

    The greedy answer, some drawn ones and the neighbours' own are ranked (`molregpt.local.ranking`). Molecules that
    RDKit cannot read are never answered.
    """

    def __init__(self, model: LocalModel) -> None:
        """Answer with `model`."""
        self._model = model

    @property
    def identity(self) -> str:
        """The model by its digest, and how it is asked."""
        return f"local {self._model.digest}, {self._model.shots} examples, greedy and {CANDIDATES} drawn"

    async def answer(self, question: Question) -> Answer:
        """See `Backend`; of a query that is longer than what the model can read, the first neighbour's answer.

        Raises:
            InputError: The query is too long, and there is no neighbour.
        """
        try:
            with torch.inference_mode():
                proposals = propose(self._model, question, CANDIDATES, _SEED)
        except InputError as error:
            if not question.examples:
                raise
            return Answer(question.target_of(question.examples[0].pair), "neighbour", notes=(str(error),))
        with torch.inference_mode():
            ranked = rank(judge(self._model, question, proposals), self._model.weights(question.direction))
        attempts = 1 + CANDIDATES
        if not ranked:
            return Answer("", "candidate", attempts, notes=proposals.problems)
        best = ranked[0].text
        return Answer(best, proposals.origin(best), attempts, notes=proposals.problems)

    async def close(self) -> None:
        """Nothing is held but memory."""
