"""What `caption` and `generate` have in common: all but the question."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from tyro.conf import arg

from molregpt.backends.options import BackendOptions
from molregpt.records import Direction
from molregpt.retrieval.options import RetrievalOptions


@dataclass(frozen=True, slots=True)
class Asking:
    """How one question is answered and shown.

    Attributes:
        backend: neighbour (copy the best), local (the model that ships), the folder of a model of `molregpt train` or
            `molregpt adapt`, or the URL of an OpenAI-compatible server.
        shots: Most examples to show.
        json: Print one JSON object instead of text.
        retrieval: Where examples come from.
        settings: How the back end is used.
    """

    backend: str = "neighbour"
    shots: int = 10
    json: bool = False
    retrieval: Annotated[RetrievalOptions, arg(name="")] = field(default_factory=RetrievalOptions)
    settings: Annotated[BackendOptions, arg(name="")] = field(default_factory=BackendOptions)

    def ask(self, direction: Direction, query: str) -> None:
        """Ask, and print the answer."""
        from molregpt.asking import ask
        from molregpt.cli.output import print_grounded

        grounded = ask(direction, query, self.backend, self.shots, self.retrieval, self.settings)
        print_grounded(grounded, as_json=self.json)
