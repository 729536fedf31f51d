"""A language model of ours in this process: no server, no key, a laptop's CPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch

from molregpt.errors import InputError
from molregpt.local.candidates import RELATIVES, judge, propose
from molregpt.local.model import LocalModel
from molregpt.local.ranking import rank
from molregpt.records import Answer, Question
from molregpt.relatives.structures import Structures

CANDIDATES = 8
"""Answers drawn beside the greedy one."""

_SEED = 0


class LocalBackend:
    """Answers with a model of `molregpt train`, the retrieved examples in its context.

    The greedy answer, some drawn ones, the neighbours' own and, where a molecule is asked for, known ones akin to those
    are ranked (`molregpt.local.ranking`). Molecules that RDKit cannot read are never answered.
    """

    def __init__(
        self, model: LocalModel, structures: Callable[[], Structures] | None = None, *, digest: str = ""
    ) -> None:
        """Answer with `model`, and look for molecules among `structures`, which are opened when first needed.

        Args:
            model: Writes and judges.
            structures: Opens known molecules; without them none is a candidate.
            digest: Names what they hold beside the pool.
        """
        self._model, self._open_structures, self._digest = model, structures, digest

    @cached_property
    def _structures(self) -> Structures | None:
        return self._open_structures() if self._open_structures else None

    @property
    def identity(self) -> str:
        """The model by its digest, and how it is asked."""
        known = f" and {RELATIVES} known ({self._digest})" if self._open_structures else ""
        return f"local {self._model.digest}, {self._model.shots} examples, greedy, {CANDIDATES} drawn{known}"

    async def answer(self, question: Question) -> Answer:
        """See `Backend`; of a query that is longer than what the model can read, the first neighbour's answer.

        Raises:
            InputError: The query is too long, and there is no neighbour.
        """
        try:
            with torch.inference_mode():
                known = self._structures if question.direction == "cap2mol" else None
                proposals = propose(self._model, question, CANDIDATES, _SEED, known)
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
