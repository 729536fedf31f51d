"""`molregpt adapt`: adapt a local model to a table of one's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from molregpt.local.settings import AdaptSettings


@dataclass(frozen=True, slots=True)
class Adapt:
    """Adapt a local model to your own table, in minutes on a CPU; the base model is not changed.

    Killed runs go on where they stopped: give the same command again.

    Attributes:
        pairs: Tables to learn (CID, SMILES, description), also the pool of neighbours; give the option again for more.
        held_out: Table to watch the loss on; it is not learned.
        out: The run's folder; give its folder model/ to --backend.
        base: `local`, the model that ships with this package, or the folder of a model of `molregpt train`.
        settings: Method, steps and rates.
    """

    pairs: tuple[Path, ...]
    held_out: Path
    out: Path
    base: str = "local"
    settings: Annotated[AdaptSettings, arg(name="")] = field(default_factory=AdaptSettings)

    def run(self) -> None:
        """Adapt, and print where the model is."""
        from molregpt.local.adapting import adapt_local

        print(adapt_local(self.base, self.pairs, self.held_out, self.out, self.settings))
