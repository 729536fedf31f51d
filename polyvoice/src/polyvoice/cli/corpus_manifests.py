"""`polyvoice corpus merge` and `augment`: manifests to manifests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional


@dataclass(frozen=True, kw_only=True)
class Merge:
    """Merge pair manifests into one; the same sentence in test and in train or dev is an error that names the rows."""

    manifests: Annotated[tuple[Path, ...], Positional]
    """What to merge; a row whose id was there before is renamed to ID@2, ID@3, ..."""
    out: Path
    """The manifest to write; audio stays where it is."""
    drop_leaks: bool = False
    """Leave out rows of train and dev that say what a test row says."""

    def run(self) -> None:
        """Merge, and say how much."""
        from polyvoice.corpus.merge import merge_manifests

        print(merge_manifests(self.manifests, self.out, drop_leaks=self.drop_leaks))
