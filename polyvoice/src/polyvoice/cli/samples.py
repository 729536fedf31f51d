"""`polyvoice samples`: a page with players, spectrograms, units and scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional


@dataclass(frozen=True)
class Samples:
    """Write a page to listen to: source, reference and output of rows drawn at random, with their scores."""

    out: Positional[Path]
    """Folder for index.html and the folder media."""
    evaluation: Path
    """Folder of a finished `polyvoice evaluate`."""
    count: int = 20
    """Samples of each direction."""
    draw: int = 0
    """Seed that draws them."""

    def run(self) -> None:
        """Write the page and print where it is."""
        from polyvoice.samples.page import make_page

        print(make_page(self.evaluation, self.out, count=self.count, seed=self.draw))
