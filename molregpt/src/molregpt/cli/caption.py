"""`molregpt caption`: describe a molecule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from tyro.conf import Positional, arg

from molregpt.cli.asking import Asking


@dataclass(frozen=True, slots=True)
class Caption:
    """Describe a molecule, grounded in the most similar molecules that have a description.

    Attributes:
        smiles: The molecule as SMILES.
        options: How it is answered.
    """

    smiles: Annotated[Positional[str], arg(metavar="SMILES")]
    options: Annotated[Asking, arg(name="")] = field(default_factory=Asking)

    def run(self) -> None:
        """Ask, and print the answer."""
        self.options.ask("mol2cap", self.smiles)
