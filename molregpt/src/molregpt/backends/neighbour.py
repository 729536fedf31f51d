"""The baseline that every score is shown beside: copy the nearest example."""

from __future__ import annotations

from molregpt.backends.protocol import NoExampleError
from molregpt.records import Answer, Question


class NeighbourBackend:
    """Answers with the nearest example's own caption or molecule; asks no model."""

    @property
    def identity(self) -> str:
        """Always `neighbour`: there is nothing to set."""
        return "neighbour"

    async def answer(self, question: Question) -> Answer:
        """Copy the target side of the most similar example.

        Raises:
            NoExampleError: The question has no example.
        """
        if not question.examples:
            raise NoExampleError(
                "the neighbour back end needs at least one retrieved example, and the question has none"
            )
        return Answer(question.target_of(question.examples[0].pair), origin="neighbour")

    async def close(self) -> None:
        """Nothing is held."""
