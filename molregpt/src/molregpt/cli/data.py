"""`molregpt data`: bring in data sets, or name molecules for training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg, subcommand


@dataclass(frozen=True, slots=True)
class Chebi20:
    """Write the full ChEBI-20 splits as tables, checked: train.tsv, validation.tsv and test.tsv.

    Attributes:
        folder: Folder to write to.
        source: Folder with the published files; they are downloaded by default.
    """

    folder: Positional[Path]
    source: Path | None = None


@dataclass(frozen=True, slots=True)
class Names:
    """Write IUPAC-like names of a table's molecules, by openclatura's rules.

    A run that was killed goes on. Molecules without a name go to OUT.failed.tsv, with the reason.

    Attributes:
        table: Table of molecules (CID, SMILES).
        out: Table to write (CID, SMILES, name, audit).
        workers: Processes that name at the same time.
    """

    table: Positional[Path]
    out: Positional[Path]
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Data:
    """Bring in data sets, or name molecules for training.

    Attributes:
        action: What to do.
    """

    action: Annotated[
        Annotated[Chebi20, subcommand("chebi20")] | Annotated[Names, subcommand("names")],
        arg(name=""),
    ]

    def run(self) -> None:
        """Do what was asked, and print what was written and found."""
        if isinstance(self.action, Chebi20):
            from molregpt.data.chebi20 import import_chebi20

            print(import_chebi20(self.action.source, self.action.folder))
        else:
            from molregpt.local.names import build_names, read_molecules

            print(build_names(read_molecules(self.action.table), self.action.out, self.action.workers))
