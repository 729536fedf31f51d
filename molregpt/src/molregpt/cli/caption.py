"""`molregpt caption`: describe a molecule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from tyro.conf import Positional, arg

from molregpt.backends.options import BackendOptions
from molregpt.retrieval.options import RetrievalOptions


@dataclass(frozen=True, slots=True)
class Caption:
    """Describe a molecule, grounded in the most similar molecules that have a description.

    Attributes:
        smiles: The molecule as SMILES.
        backend: neighbour (copy the nearest), or the URL of an OpenAI-compatible server.
        shots: Most examples to show.
        json: Print one JSON object instead of text.
        retrieval: Where examples come from.
        settings: How the back end is used.
    """

    smiles: Annotated[Positional[str], arg(metavar="SMILES")]
    backend: str = "neighbour"
    shots: int = 10
    json: bool = False
    retrieval: Annotated[RetrievalOptions, arg(name="")] = field(default_factory=RetrievalOptions)
    settings: Annotated[BackendOptions, arg(name="")] = field(default_factory=BackendOptions)

    def run(self) -> None:
        """Ask, and print the answer."""
        from molregpt.asking import ask
        from molregpt.cli.output import print_grounded

        print_grounded(
            ask("mol2cap", self.smiles, self.backend, self.shots, self.retrieval, self.settings), as_json=self.json
        )
