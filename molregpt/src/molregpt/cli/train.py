"""`molregpt train`: train a local model on tables of pairs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from molregpt.local.settings import TrainSettings


@dataclass(frozen=True, slots=True)
class Train:
    """Train a small language model that answers with retrieved neighbours in its context.

    Killed runs go on where they stopped: give the same command again.

    Attributes:
        pairs: Tables to learn (CID, SMILES, description), also the pool of neighbours; give the option again for more.
        held_out: Table to watch the loss on; it is not learned.
        out: The run's folder; the finished model is in its folder model/.
        molecules: Table with a column SMILES: molecules without descriptions, for exercises.
        names: Table with columns SMILES and name: systematic names, for exercises.
        settings: Shape, course and examples.
    """

    pairs: tuple[Path, ...]
    held_out: Path
    out: Path
    molecules: Path | None = None
    names: Path | None = None
    settings: Annotated[TrainSettings, arg(name="")] = field(default_factory=TrainSettings)

    def run(self) -> None:
        """Train, and print where the model is."""
        from molregpt.local.training import train_local

        print(
            train_local(self.pairs, self.held_out, self.out, self.settings, molecules=self.molecules, names=self.names)
        )
