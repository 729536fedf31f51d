"""Captions of a local model: many are written, they and the neighbours' own vote, and one is put together from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from molregpt.local.model import ENDLESS, LocalModel
from molregpt.local.neighbours import COPIED, SUPPORTING, cast_by_relevance
from molregpt.records import Origin, Question

DRAWN = 48
"""Captions drawn beside the greedy one."""


@dataclass(frozen=True, slots=True)
class Voters:
    """The captions that speak for what a molecule's caption may say.

    Attributes:
        written: Those that the model wrote, and how often.
        greedy: What it would say if it were asked once; None if that is not usable.
        neighbours: The neighbours' captions with their relevance, the most relevant first.
        problems: What is wrong with answers of the model that are not usable.
    """

    written: Mapping[str, int]
    greedy: str | None
    neighbours: Mapping[str, float]
    problems: tuple[str, ...]

    def votes(self, share: float) -> dict[str, float]:
        """Votes of each caption, one in all: `share` of it the model's, unless either side has nothing to say."""
        if not self.written or not self.neighbours:
            share = float(bool(self.written))
        cast = cast_by_relevance(self.neighbours.values()).tolist()
        votes = {text: (1.0 - share) * vote for text, vote in zip(self.neighbours, cast, strict=True)}
        times = sum(self.written.values())
        for text, count in self.written.items():
            votes[text] = votes.get(text, 0.0) + share * count / times
        return votes

    def origin(self, text: str) -> Origin:
        """How a caption came about."""
        if text == self.greedy:
            return "model"
        if text in self.written:
            return "ranked"
        return "borrowed" if text in self.neighbours else "composed"


def gather(model: LocalModel, question: Question, count: int, seed: int) -> Voters:
    """Write the greedy caption, draw `count` more, and add the neighbours' own.

    Args:
        model: Writes.
        question: A molecule that is to be described.
        count: Captions drawn.
        seed: Of the drawing.

    Raises:
        InputError: The query alone is longer than what the model was trained on.
    """
    reading = model.open(question)
    known = [(" ".join(example.pair.caption.split()), example.relevance) for example in question.examples]
    answers = model.write_several(reading, [caption for caption, _ in known[:COPIED]], count, seed)
    said = [" ".join(model.text(reading.prompt, one).split()) if one.ended else "" for one in answers]
    problems = [
        ENDLESS if not one.ended else "the caption is empty"
        for one, text in zip(answers, said, strict=True)
        if not text
    ]
    neighbours: dict[str, float] = {}
    for caption, relevance in known[:SUPPORTING]:
        if caption:
            neighbours.setdefault(caption, relevance)
    return Voters(Counter(filter(None, said)), said[0] or None, neighbours, tuple(dict.fromkeys(problems)))
