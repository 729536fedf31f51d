"""`polyvoice samples`: a page with players, spectrograms, units and scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from polyvoice.bundle.shipped import Recordings


@dataclass(frozen=True)
class Samples:
    """Write a page to listen to: source, reference and output of rows drawn at random, with their scores.

    Without --evaluation, the recordings that ship with this package are translated and scored first; the folder
    evaluation of the page's holds that.
    """

    out: Positional[Path]
    """Folder for index.html and the folder media."""
    evaluation: Path | None = None
    """Folder of a finished `polyvoice evaluate`."""
    bundle: Path | None = None
    """Models that translate the shipped recordings; those that ship with this package by default."""
    recordings: Recordings = "few"
    """Of those that ship: six of each direction, a real speaker's among them, or the twenty phrases of each direction
    that the bundle's card has scores of."""
    count: int = 20
    """Samples of each direction."""
    draw: int = 0
    """Seed that draws them."""

    def run(self) -> None:
        """Write the page and print where it is."""
        from polyvoice.samples.page import make_page

        folder = self.evaluation or self._translate_shipped()
        print(make_page(folder, self.out, count=self.count, seed=self.draw))

    def _translate_shipped(self) -> Path:
        from polyvoice.bundle.shipped import shipped_recordings
        from polyvoice.cli.evaluate import Evaluate

        folder = self.out / "evaluation"
        Evaluate(manifest=shipped_recordings(self.recordings), out=folder, bundle=self.bundle).run()
        return folder
