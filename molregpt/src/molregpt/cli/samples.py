"""`molregpt samples`: a page of answered molecules, both directions."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from molregpt.backends.options import BackendOptions


@dataclass(frozen=True, slots=True)
class Samples:
    """Answer the hundred shipped questions both ways and write a page with answers, references and neighbours.

    Attributes:
        out: Folder for index.html and the runs' files.
        backend: neighbour (copy the best), local (the model that ships), the folder of a model of `molregpt train`, or
            the URL of an OpenAI-compatible server.
        shots: Examples shown with each question.
        count: Samples of each direction on the page.
        draw: Seed that draws the samples shown.
        settings: How the back end is used.
    """

    out: Positional[Path]
    backend: str = "neighbour"
    shots: int = 10
    count: int = 12
    draw: int = 0
    settings: Annotated[BackendOptions, arg(name="")] = field(default_factory=BackendOptions)

    def run(self) -> None:
        """Make the page, and print where it is and how the answers score."""
        from molregpt.cli.output import print_scores
        from molregpt.report.samples_page import make_samples

        for evaluation in make_samples(
            self.out, self.backend, self.settings, shots=self.shots, count=self.count, seed=self.draw
        ):
            print_scores(evaluation)
        print(self.out / "index.html")
