"""`polyvoice corpus join`: short recordings become long ones."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional


@dataclass(frozen=True, kw_only=True)
class Join:
    """Join two or three training rows of one speaker into one, at random, so that a model learns to hear more at once.

    Train with the originals beside them: merge both manifests.
    """

    manifest: Annotated[Path, Positional]
    """Pair manifest; only its rows of split train whose speaker is known are joined."""
    out: Path
    """Folder to write to: pairs.tsv and audio."""
    count: int = 1000
    """Rows that are wanted."""
    longest_s: float = 8.0
    """Neither side of a joined row is longer."""
    seed: int = 0
    """Another seed, other rows."""
    workers: int = os.cpu_count() or 1
    """Processes; one a core by default."""

    def run(self) -> None:
        """Join, and say how many rows there are."""
        from polyvoice.corpus.copying import MANIFEST
        from polyvoice.corpus.join import join_corpus

        rows = join_corpus(
            self.manifest,
            self.out,
            count=self.count,
            longest_s=self.longest_s,
            seed=self.seed,
            workers=self.workers,
        )
        print(f"{self.out / MANIFEST}: {rows:,} rows")
