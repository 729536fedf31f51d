"""Settings of learning relevance: light to import, checked when made."""

from __future__ import annotations

from dataclasses import dataclass

from molregpt.errors import InputError


@dataclass(frozen=True)
class RelevanceSettings:
    """How it is learned.

    Attributes:
        epochs: Times that each pair asks.
        batch: Pairs in a step.
        learning_rate: At the first step; it falls to 0.
        seed: Of the first weights and of the order.

    Raises:
        InputError: A value is out of range.
    """

    epochs: int = 10
    batch: int = 32
    learning_rate: float = 2e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch) < 1 or not self.learning_rate > 0.0:
            raise InputError("relevance: epochs and batch must be at least 1, and learning_rate above 0")
