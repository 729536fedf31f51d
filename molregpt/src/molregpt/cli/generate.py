"""`molregpt generate`: propose the molecule of a description."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from tyro.conf import Positional, arg

from molregpt.cli.asking import Asking


@dataclass(frozen=True, slots=True)
class Generate:
    """Propose a molecule for a description, grounded in the most similar descriptions.

    Attributes:
        text: The description.
        options: How it is answered.
    """

    text: Annotated[Positional[str], arg(metavar="TEXT")]
    options: Annotated[Asking, arg(name="")] = field(default_factory=Asking)

    def run(self) -> None:
        """Ask, and print the answer."""
        self.options.ask("cap2mol", self.text)
