"""A language model of ours in this process: no server, no key, a laptop's CPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch

from molregpt.errors import InputError
from molregpt.local.candidates import CANDIDATES, RELATIVES, judge, propose
from molregpt.local.captions import DRAWN, gather
from molregpt.local.composing import compose
from molregpt.local.model import LocalModel
from molregpt.local.ranking import rank
from molregpt.records import Answer, Question
from molregpt.relatives.structures import Structures

_SEED = 0


class LocalBackend:
    """Answers with a model of `molregpt train`, the retrieved examples in its context.

    A caption is put together from the greedy one, drawn ones and the neighbours' own, so that it agrees best with all
    of them (`molregpt.local.composing`). Molecules, to which known ones akin to the neighbours' are added, are ranked
    (`molregpt.local.ranking`); those that RDKit cannot read are never answered.
    """

    def __init__(
        self, model: LocalModel, structures: Callable[[], Structures] | None = None, *, digest: str = ""
    ) -> None:
        """Answer with `model`, and look for molecules among `structures`, which are opened when first needed.

        Args:
            model: Writes and judges.
            structures: Opens known molecules; without them none is a candidate.
            digest: Names what they hold beside the pool.

        Raises:
            InputError: The model's card does not say how captions are put together, but something else.
        """
        self._model, self._open_structures, self._digest = model, structures, digest
        self._share = model.composing.model

    @cached_property
    def _structures(self) -> Structures | None:
        return self._open_structures() if self._open_structures else None

    @property
    def identity(self) -> str:
        """The model by its digest, and how it is asked."""
        known = f" and {RELATIVES} known ({self._digest})" if self._open_structures else ""
        drawn = f"{DRAWN} captions or {CANDIDATES} molecules drawn"
        return f"local {self._model.digest}, {self._model.shots} examples, greedy, {drawn}{known}"

    async def answer(self, question: Question) -> Answer:
        """See `Backend`; of a query that is longer than what the model can read, the first neighbour's answer.

        Raises:
            InputError: The query is too long, and there is no neighbour.
        """
        answer = self._describe if question.direction == "mol2cap" else self._propose
        try:
            with torch.inference_mode():
                return answer(question)
        except InputError as error:
            if not question.examples:
                raise
            return Answer(question.target_of(question.examples[0].pair), "neighbour", notes=(str(error),))

    def _describe(self, question: Question) -> Answer:
        voters = gather(self._model, question, DRAWN, _SEED)
        votes = voters.votes(self._share)
        if not votes:
            return Answer("", "candidate", 1 + DRAWN, notes=voters.problems)
        best = compose(votes)
        return Answer(best, voters.origin(best), 1 + DRAWN, notes=voters.problems)

    def _propose(self, question: Question) -> Answer:
        proposals = propose(self._model, question, CANDIDATES, _SEED, self._structures)
        ranked = rank(judge(self._model, question, proposals), self._model.weights("cap2mol"))
        if not ranked:
            return Answer("", "candidate", 1 + CANDIDATES, notes=proposals.problems)
        best = ranked[0].text
        return Answer(best, proposals.origin(best), 1 + CANDIDATES, notes=proposals.problems)

    async def close(self) -> None:
        """Nothing is held but memory."""
