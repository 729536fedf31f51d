"""Which of several molecules is the answer.

A candidate is judged by what the model thinks of it, by what it has in common with the other candidates (minimum Bayes
risk: the one that is nearest to all of them loses least when it is wrong) and with the answers of neighbours, by how it
leads back to the question, and by what can be checked of it. How much each counts is fitted on held-out pairs and
stored with the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

Stage = Literal["relatives", "cap2mol"]
"""What is ranked: molecules akin to the neighbours' before a model is asked about them, or all candidates."""


@dataclass(frozen=True)
class Weights:
    """How much each judgement counts; all are means, so that large molecules are not worse for being large.

    Attributes:
        confidence: Mean log-probability of the answer's pieces, in nats.
        consensus: Mean similarity to what the model wrote, 0 to 1.
        support: Mean similarity to the neighbours' answers, the most relevant counting most, 0 to 1.
        kinship: Mean similarity to the neighbours' answers, all counting alike, 0 to 1.
        relevance: Of the neighbour whose answer this is, 0 to 1; 0 for what only the model wrote.
        written: 1 for what the model wrote, 0 for a neighbour's answer that it did not write.
        round_trip: Mean log-probability of the question's pieces given the answer, in nats.
        checks: Share of the checkable properties that hold, 0 to 1.
        named: Share of a molecule's systematic name that the question says, 0 to 1.
        covers: Share of what the candidates' names say of the question that this one's says, 0 to 1.
    """

    confidence: float = 0.1
    consensus: float = 1.0
    support: float = 0.5
    kinship: float = 0.0
    relevance: float = 0.0
    written: float = 0.0
    round_trip: float = 0.1
    checks: float = 0.2
    named: float = 0.1
    covers: float = 0.1


RELATIVES_BY_DEFAULT = Weights(
    confidence=0.0,
    consensus=0.0,
    support=20.0,
    kinship=24.0,
    relevance=0.0,
    written=0.0,
    round_trip=0.0,
    checks=6.0,
    named=10.0,
    covers=15.0,
)
"""How molecules akin to the neighbours' are ranked by models that were not tuned with them."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A candidate with what is known of it; see `Weights` for the judgements. What was not looked at is 0."""

    text: str
    confidence: float = 0.0
    consensus: float = 0.0
    support: float = 0.0
    kinship: float = 0.0
    relevance: float = 0.0
    written: float = 0.0
    round_trip: float = 0.0
    checks: float = 0.0
    named: float = 0.0
    covers: float = 0.0


def rank(candidates: Sequence[Judged], weights: Weights) -> list[Judged]:
    """The candidates, the best first; equally good ones stay in their order."""
    factors: dict[str, float] = asdict(weights)

    def total(candidate: Judged) -> float:
        return float(sum(factor * getattr(candidate, name) for name, factor in factors.items()))

    return sorted(candidates, key=total, reverse=True)
