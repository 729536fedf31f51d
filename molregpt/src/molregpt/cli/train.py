"""`molregpt train`: train a local model on tables of pairs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from molregpt.errors import InputError
from molregpt.local.settings import TrainSettings
from unitlm.dry_run import DryRun


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
        base: Folder of a finished model to begin with, all of whose weights go on learning (`adapt` leaves them as they
            are); its vocabulary and shape count.
        settings: Shape, course and examples.
        machines: For --dry-run, which needs no tables and no folder.
        json: Print the figures of --dry-run as one JSON object.
    """

    pairs: tuple[Path, ...] = ()
    held_out: Path | None = None
    out: Path | None = None
    molecules: Path | None = None
    names: Path | None = None
    base: Path | None = None
    settings: Annotated[TrainSettings, arg(name="")] = field(default_factory=TrainSettings)
    machines: Annotated[DryRun, arg(name="")] = field(default_factory=DryRun)
    json: bool = False

    def run(self) -> None:
        """Train, and print where the model is, or what that would cost."""
        from molregpt.local.training import estimate_local, train_local

        if self.machines.dry_run:
            from unitlm.dry_run import print_estimate

            print_estimate(estimate_local(self.settings, self.machines, self.base), as_json=self.json)
            return
        if not self.pairs or self.held_out is None or self.out is None:
            raise InputError("training needs --pairs, --held-out and --out; only --dry-run does without")
        tables = {"molecules": self.molecules, "names": self.names, "base": self.base}
        print(train_local(self.pairs, self.held_out, self.out, self.settings, **tables))
