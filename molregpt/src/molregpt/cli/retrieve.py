"""`molregpt retrieve`: show the nearest pairs of a molecule or a description."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from tyro.conf import Positional, arg

from molregpt.retrieval.options import RetrievalOptions


@dataclass(frozen=True, slots=True)
class Retrieve:
    """Show the pairs of a pool that are most like a molecule or a description.

    Attributes:
        query: A molecule as SMILES, or a description.
        k: Most pairs to show.
        json: Print one JSON object instead of a table.
        retrieval: Where pairs come from.
    """

    query: Annotated[Positional[str], arg(metavar="SMILES|TEXT")]
    k: int = 5
    json: bool = False
    retrieval: Annotated[RetrievalOptions, arg(name="")] = field(default_factory=RetrievalOptions)

    def run(self) -> None:
        """Search, and print what was found."""
        from molregpt.asking import find_neighbours, guess_direction
        from molregpt.cli.output import print_found

        direction = guess_direction(self.query, self.retrieval.strategy)
        print_found(find_neighbours(direction, self.query, self.k, self.retrieval), as_json=self.json)
