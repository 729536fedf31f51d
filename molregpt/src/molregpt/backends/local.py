"""A language model of ours in this process: no server, no key, a laptop's CPU."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch

from molregpt.answering import check_molecule
from molregpt.errors import InputError
from molregpt.local.language import TASKS, slots_of
from molregpt.records import Answer, Example, Question
from unitlm.checkpoint import MANIFEST, load_model, read_manifest
from unitlm.drafts import generate_with_drafts
from unitlm.generate import generate
from unitlm.sampling import Choices, Sampling
from unitlm.vocabulary import Vocabulary

CANDIDATES = 8
"""Molecules drawn when the most probable one cannot be read."""

_DRAWING = Sampling(temperature=0.8, top_p=0.95)
_SEED = 0


class LocalBackend:
    """Answers with a model that `molregpt train` made, the retrieved examples in its context.

    The answer is the greedy one, written with the examples' own answers as drafts: what the model would copy from them
    costs one pass for many pieces. A molecule that RDKit cannot read is replaced by the most probable of some drawn
    ones that it can, and by the nearest neighbour where there is none.
    """

    def __init__(self, folder: Path) -> None:
        """Load a model folder.

        Raises:
            InputError: The folder holds no such model, or is damaged.
        """
        card = read_manifest(folder).get("metadata")
        if (
            not isinstance(card, dict)
            or not isinstance(card.get("shots"), int)
            or not isinstance(card.get("longest"), int)
        ):
            raise InputError(f"{folder}: not a model of `molregpt train`")
        self._shots, self._longest = int(str(card["shots"])), int(str(card["longest"]))
        self._vocabulary = Vocabulary.load(folder / "vocabulary.json")
        self._model = load_model(folder).float()
        # The manifest names every weight file by its hash, so its own hash names the model.
        self._digest = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()[:16]

    @property
    def identity(self) -> str:
        """The model by its digest, and how it is asked."""
        return f"local {self._digest}, {self._shots} examples, greedy, {CANDIDATES} candidates"

    async def answer(self, question: Question) -> Answer:
        """See `Backend`.

        Raises:
            InputError: The query alone is longer than what the model was trained on.
        """
        with torch.inference_mode():
            text = self._write(question)
            if question.direction == "mol2cap":
                return Answer(text, "model", attempts=1)
            problem = check_molecule(text).problem
            if not problem:
                return Answer(text, "model", attempts=1)
            for candidate in self._draw(question):
                if not check_molecule(candidate).problem:
                    return Answer(candidate, "candidate", attempts=2, notes=(problem,))
        if not question.examples:
            return Answer(text, "candidate", attempts=2, notes=(problem,))
        return Answer(question.target_of(question.examples[0].pair), "neighbour", attempts=2, notes=(problem,))

    async def close(self) -> None:
        """Nothing is held but memory."""

    def _write(self, question: Question) -> str:
        """The greedy answer."""
        prompt, alphabet, shown = self._prompt(question)
        drafts = [self._vocabulary.encode(alphabet, question.target_of(example.pair)) for example in shown]
        limit = self._longest - len(prompt)
        choices = Choices.of(self._vocabulary, alphabet)
        written = generate_with_drafts(self._model, prompt, choices, drafts, limit=limit).continuation
        return str(self._vocabulary.decode(alphabet, written.ids))

    def _draw(self, question: Question) -> list[str]:
        """Some drawn answers, the most probable first."""
        prompt, alphabet, _ = self._prompt(question)
        drawn = generate(
            self._model,
            [prompt] * CANDIDATES,
            Choices.of(self._vocabulary, alphabet),
            limit=self._longest - len(prompt),
            sampling=_DRAWING,
            generator=torch.Generator().manual_seed(_SEED),
        )
        drawn.sort(key=lambda continuation: -continuation.log_probability)
        return [str(self._vocabulary.decode(alphabet, continuation.ids)) for continuation in drawn]

    def _prompt(self, question: Question) -> tuple[Sequence[int], str, Sequence[Example]]:
        """The ids, the alphabet of the answer, and the examples that fit, the most similar first."""
        task = TASKS[question.direction]
        given = "molecule" if question.direction == "mol2cap" else "caption"
        for count in range(min(self._shots, len(question.examples)), -1, -1):
            shown = question.examples[:count]
            prompt = task.prompt(
                {given: question.query}, self._vocabulary, [slots_of(example.pair) for example in reversed(shown)]
            )
            # A quarter of what the model knows as a length is kept for the answer.
            if len(prompt.ids) <= self._longest * 3 // 4:
                return prompt.ids, prompt.slot.alphabet, shown
        raise InputError(f"the query takes {len(prompt.ids)} tokens; the model reads {self._longest * 3 // 4}")
