"""Which of several candidates is the answer.

A candidate is judged by what the model thinks of it, by what it has in common with the other candidates (minimum Bayes
risk: the one that is nearest to all of them loses least when it is wrong) and with the answers of neighbours, by how it
leads back to the question, and by what can be checked of it. How much each counts is fitted on held-out pairs and
stored with the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Weights:
    """How much each judgement counts; all are means, so that long answers are not worse for being long.

    Attributes:
        confidence: Mean log-probability of the answer's pieces, in nats.
        consensus: Mean similarity to what the model wrote, 0 to 1.
        support: Mean similarity to the neighbours' answers, the most relevant counting most, 0 to 1.
        relevance: Of the neighbour whose answer this is, 0 to 1; 0 for what only the model wrote.
        written: 1 for what the model wrote, 0 for a neighbour's answer that it did not write.
        round_trip: Mean log-probability of the question's pieces given the answer, in nats.
        checks: Share of the checkable properties that hold, 0 to 1.
    """

    confidence: float = 0.1
    consensus: float = 1.0
    support: float = 0.5
    relevance: float = 0.0
    written: float = 0.0
    round_trip: float = 0.1
    checks: float = 0.2


@dataclass(frozen=True, slots=True)
class Judged:
    """A candidate with what is known of it; see `Weights` for the judgements."""

    text: str
    confidence: float
    consensus: float
    support: float
    relevance: float
    written: float
    round_trip: float
    checks: float


def rank(candidates: Sequence[Judged], weights: Weights) -> list[Judged]:
    """The candidates, the best first; equally good ones stay in their order."""
    factors: dict[str, float] = asdict(weights)

    def total(candidate: Judged) -> float:
        return float(sum(factor * getattr(candidate, name) for name, factor in factors.items()))

    return sorted(candidates, key=total, reverse=True)
