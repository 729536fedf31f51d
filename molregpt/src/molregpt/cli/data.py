"""`molregpt data`: bring in data sets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional


@dataclass(frozen=True, slots=True)
class Data:
    """Write the full ChEBI-20 splits as tables, checked: train.tsv, validation.tsv and test.tsv.

    Attributes:
        name: The data set.
        folder: Folder to write to.
        source: Folder with the published files; they are downloaded by default.
    """

    name: Positional[Literal["chebi20"]]
    folder: Positional[Path]
    source: Path | None = None

    def run(self) -> None:
        """Import, and print what was written and found."""
        from molregpt.data.chebi20 import import_chebi20

        print(import_chebi20(self.source, self.folder))
