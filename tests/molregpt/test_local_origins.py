"""An answer says how it came about: the model's first, another one of its, a neighbour's, or none at all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import pytest

from molregpt.backends.local import CANDIDATES, LocalBackend
from molregpt.database import Database
from molregpt.local.candidates import Proposals, Written
from molregpt.local.captions import DRAWN
from molregpt.local.model import Composing, LocalModel
from molregpt.local.ranking import RELATIVES_BY_DEFAULT, Stage, Weights
from molregpt.records import Answer, Direction, Example, Pair, Question
from molregpt.relatives.structures import Structures
from unitlm.generate import Continuation

BY_DEFAULT = Composing()
NOTHING = Weights(**{field.name: 0.0 for field in fields(Weights)})
LIKE_NEIGHBOURS = replace(NOTHING, written=-1.0)
LIKE_ITSELF = replace(NOTHING, confidence=1.0)
AS_THE_QUESTION_SAYS = replace(NOTHING, checks=1.0)


@dataclass
class Scripted:
    """Says what it is told; the more confident, the later."""

    greedy: str
    drawn: tuple[str, ...]
    ranking: Weights = NOTHING
    ends: bool = True
    composing: Composing = BY_DEFAULT
    digest: str = "scripted"
    shots: int = 2

    def __post_init__(self) -> None:
        self.said: list[str] = []

    def _say(self, texts: Sequence[str], log_probability: float) -> list[Continuation]:
        self.said += texts
        return [
            Continuation((len(self.said) - len(texts) + at,), log_probability + at, True) for at in range(len(texts))
        ]

    def open(self, question: Question) -> Any:
        return type("Reading", (), {"prompt": question})

    def write_several(self, reading: Any, drafts: Sequence[str], count: int, seed: int) -> list[Continuation]:
        return [replace(self._say([self.greedy], -20.0)[0], ended=self.ends), *self._say(self.drawn, -10.0)]

    def score(self, reading: Any, answers: Sequence[str]) -> list[Continuation]:
        return self._say(answers, -30.0)

    def text(self, prompt: Any, continuation: Continuation) -> str:
        return self.said[continuation.ids[0]]

    def round_trip(self, caption: str, molecules: Sequence[str]) -> list[float]:
        return [0.0] * len(molecules)

    def weights(self, stage: Stage) -> Weights:
        return RELATIVES_BY_DEFAULT if stage == "relatives" else self.ranking

    def name(self, smiles: str) -> str:
        return ""


def ask(model: Scripted, *neighbours: str, direction: Direction = "cap2mol") -> Answer:
    pairs = [
        Pair(text, text, f"It is {text}.") if direction == "cap2mol" else Pair(text, "CCO", text) for text in neighbours
    ]
    # Similarities of some search, which are not the neighbours' relevance and must not count as such.
    question = Question(direction, "It is rare.", tuple(Example(pair, 30.0 - 9 * n) for n, pair in enumerate(pairs)))
    return asyncio.run(LocalBackend(cast("LocalModel", model)).answer(question))


@pytest.mark.parametrize(
    ("greedy", "drawn", "ranking", "text", "origin"),
    [
        pytest.param("CCO", (), LIKE_ITSELF, "CCO", "model", id="greedy alone"),
        pytest.param("CCO", ("CCO", "CCO"), LIKE_ITSELF, "CCO", "model", id="greedy and drawn alike"),
        pytest.param("CCO", ("CCN", "CCF"), LIKE_ITSELF, "CCF", "ranked", id="a drawn one"),
        pytest.param("C(", ("CCN",), LIKE_ITSELF, "CCN", "ranked", id="a drawn one, the greedy one is not usable"),
        pytest.param("CCO", ("CCN",), LIKE_NEIGHBOURS, "CCCl", "borrowed", id="a neighbour's"),
        pytest.param("CCO", ("CCCl",), LIKE_ITSELF, "CCCl", "ranked", id="a neighbour's that the model wrote too"),
        pytest.param("C(", ("CC(",), LIKE_ITSELF, "CCCl", "borrowed", id="nothing usable but a neighbour's"),
    ],
)
def test_origins(greedy: str, drawn: tuple[str, ...], ranking: Weights, text: str, origin: str) -> None:
    answer = ask(Scripted(greedy, drawn, ranking), "CCCl")
    assert (answer.text, answer.origin, answer.attempts) == (text, origin, 1 + CANDIDATES)


def test_a_form_of_a_neighbour_can_be_the_answer(tmp_path: Path) -> None:
    structures = Structures(Database([Pair("1", "CC(=O)O", "It is sour.")], cache=tmp_path), [], {})
    question = Question("cap2mol", "It is an anion.", (Example(Pair("1", "CC(=O)O", "It is sour."), 0.5),))
    model = cast("LocalModel", Scripted("CCO", (), AS_THE_QUESTION_SAYS))
    answer = asyncio.run(LocalBackend(model, lambda: structures).answer(question))
    assert (answer.text, answer.origin) == ("CC(=O)[O-]", "related")


@pytest.mark.parametrize(
    ("greedy", "drawn", "neighbours", "text", "origin"),
    [
        pytest.param("It is a gas.", ("It is a gas.",), (), "It is a gas.", "model", id="greedy"),
        pytest.param("It is a gas.", ("It is ash.", "It is ash."), (), "It is ash.", "ranked", id="most often drawn"),
        pytest.param("", (), ("It is ash.",), "It is ash.", "borrowed", id="nothing written"),
        pytest.param(
            "The molecule is a salt. It is a poison.",
            (
                "The molecule is a salt. It has a role as a drug. It is a poison and a toxin.",
                "The molecule is a gas. It has a role as a drug. It is a poison.",
            ),
            ("It is a bitter salt of an old sea. It is a poison.",),
            "The molecule is a salt. It has a role as a drug. It is a poison.",
            "composed",
            id="put together",
        ),
    ],
)
def test_origins_of_captions(
    greedy: str, drawn: tuple[str, ...], neighbours: tuple[str, ...], text: str, origin: str
) -> None:
    answer = ask(Scripted(greedy, drawn), *neighbours, direction="mol2cap")
    assert (answer.text, answer.origin, answer.attempts) == (text, origin, 1 + DRAWN)


def test_the_votes_are_shared_as_the_card_says() -> None:
    written, neighbour = "It is ash. It is ice.", "It is rare gas of old."
    for share, text in ((0.9, written), (0.1, neighbour)):
        model = Scripted(written, (), composing=Composing(share))
        assert ask(model, neighbour, direction="mol2cap").text == text


def test_a_caption_that_is_empty_is_no_answer() -> None:
    answer = ask(Scripted("", ("It is ethanol.",)), direction="mol2cap")
    assert (answer.text, answer.origin, answer.notes) == ("It is ethanol.", "ranked", ("the caption is empty",))


def test_an_answer_that_does_not_end_is_none() -> None:
    answer = ask(Scripted("It is a gas of a gas of a gas", ("It is rare.",), ends=False), direction="mol2cap")
    assert (answer.text, answer.origin, answer.notes) == ("It is rare.", "ranked", ("the answer does not end",))


def test_without_a_usable_caption_and_neighbours_there_is_none() -> None:
    answer = ask(Scripted("", ("",)), direction="mol2cap")
    assert (answer.text, answer.origin, answer.notes) == ("", "candidate", ("the caption is empty",))


def test_without_any_usable_answer_there_is_none() -> None:
    answer = ask(Scripted("C(", ("CC(",), LIKE_ITSELF))
    assert (answer.text, answer.origin, len(answer.notes)) == ("", "candidate", 2)


def test_only_candidates_have_an_origin() -> None:
    with pytest.raises(KeyError):
        Proposals((Written("CCO", -1.0, 1),), (), "CCO").origin("CCN")
