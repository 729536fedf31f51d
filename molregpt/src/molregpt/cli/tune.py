"""`molregpt tune`: choose what counts how much in a local model's answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional


@dataclass(frozen=True, slots=True)
class Tune:
    """Choose on held-out pairs what counts how much in a local model's answers, and write it into the model's card.

    Attributes:
        model: Folder of a model of `molregpt train`.
        pairs: Tables in which neighbours are found; give the option again for more.
        held_out: Table of pairs that the model was not trained on.
        rows: The first so many of them are used.
        seed: Seed of candidates.
    """

    model: Annotated[Path, Positional]
    pairs: tuple[Path, ...]
    held_out: Path
    rows: int = 400
    seed: int = 0

    def run(self) -> None:
        """Tune, and print what was found."""
        from molregpt.local.tuning import tune

        found = tune(self.model, self.pairs, self.held_out, rows=self.rows, seed=self.seed)
        told = found.captions
        print(
            f"captions: nearest neighbour {told.nearest:.4f}, as it was {told.before:.4f}, tuned {told.after:.4f}; "
            f"share of the votes that are the model's: {told.share}"
        )
        for stage, tuned in found.molecules.items():
            print(
                f"{stage}: first candidate {tuned.greedy:.4f}, weights as they were {tuned.before:.4f}, "
                f"tuned {tuned.after:.4f}, best candidate {tuned.best_possible:.4f}; {tuned.weights}"
            )
