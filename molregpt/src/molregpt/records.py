"""The values that pass between the steps: pairs from a table, a question with its examples, an answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Direction = Literal["mol2cap", "cap2mol"]
"""Which way a question goes: a molecule to be described, or a description to be drawn."""

DIRECTIONS: tuple[Direction, ...] = ("mol2cap", "cap2mol")

Origin = Literal["model", "repaired", "ranked", "composed", "candidate", "borrowed", "related", "neighbour"]
"""Where an answer comes from.

The model's first answer; one asked again after a check failed; one of several that ranked above the first; one put
together from several and the neighbours'; the best of several none of which passed every check; a neighbour's text that
ranked above all that the model wrote; a known molecule around the neighbours', or another form of one, that did; or the
nearest neighbour's own text when nothing else was usable.
"""


@dataclass(frozen=True, slots=True)
class Pair:
    """One molecule with its description, as a row of a table.

    Attributes:
        key: The row's identifier, unique in its table (a PubChem CID in ChEBI-20).
        smiles: The molecule, with single backslashes.
        caption: Its description.
        source: Where the row comes from, when the table says.
    """

    key: str
    smiles: str
    caption: str
    source: str = ""

    def asked(self, direction: Direction) -> str:
        """The side that a question in this direction gives."""
        return self.smiles if direction == "mol2cap" else self.caption

    def answered(self, direction: Direction) -> str:
        """The side that a question in this direction asks for."""
        return self.caption if direction == "mol2cap" else self.smiles


@dataclass(frozen=True, slots=True)
class Example:
    """A retrieved pair.

    Attributes:
        pair: The pair.
        similarity: How similar it is to the query; the scale is the retrieval strategy's own.
        relevance: How much of the right answer its answer is likely to hold, 0 to 1; 0.5 where nobody
            estimated it, so that all count alike.
    """

    pair: Pair
    similarity: float
    relevance: float = 0.5


@dataclass(frozen=True, slots=True)
class Question:
    """What a back end is asked.

    Attributes:
        direction: `mol2cap` (query is SMILES) or `cap2mol` (query is a description).
        query: The SMILES or the description.
        examples: Retrieved examples, the most similar first; each prompt orders them as it likes.
        withheld: SMILES of the molecule that the question is about, where it is an examination: no table may tell it.
    """

    direction: Direction
    query: str
    examples: tuple[Example, ...]
    withheld: str = ""

    def target_of(self, pair: Pair) -> str:
        """The side of `pair` that this question asks for."""
        return pair.answered(self.direction)

    def source_of(self, pair: Pair) -> str:
        """The side of `pair` that this question shows."""
        return pair.asked(self.direction)


@dataclass(frozen=True, slots=True)
class Usage:
    """What an answer cost.

    Attributes:
        requests: Calls that reached the server.
        cached: Calls answered from the cache.
        prompt_tokens: Tokens sent, as the server counts them; estimated where it does not.
        completion_tokens: Tokens received; the same.
        cost: Money, in the currency of the price that the user gave; 0.0 without a price.
    """

    requests: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.requests + other.requests,
            self.cached + other.cached,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cost + other.cost,
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply of a model, as it came.

    Attributes:
        text: What the model wrote; empty when it wrote nothing.
        problem: Why the server's body holds no message, in one line; empty when it holds one.
        finish_reason: Why the model stopped, as the server says (`stop`, `length`, ...).
        usage: What the reply cost.
    """

    text: str
    problem: str = ""
    finish_reason: str = ""
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a back end says, and how it came to say it.

    Attributes:
        text: The caption or the SMILES.
        origin: See `Origin`.
        attempts: Times the model was asked for this answer (0 when no model was).
        usage: What it cost.
        notes: One line for each check that failed on the way, oldest first.
    """

    text: str
    origin: Origin
    attempts: int = 0
    usage: Usage = field(default_factory=Usage)
    notes: tuple[str, ...] = ()
