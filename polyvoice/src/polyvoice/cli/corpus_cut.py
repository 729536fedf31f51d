"""`polyvoice corpus cut`: long recordings become pieces with their words."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from polyvoice.corpus.cutting import CutSettings


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Cut recordings that are too long to learn from in their pauses, and give each piece its words.

    Which words a piece says is told from lengths: of its clauses in letters, and of the sound between pauses. Pieces
    are to be recognised and spoken, not translated: merge their manifest with the one that they come from.
    """

    manifest: Annotated[Path, Positional]
    """Pair manifest; both sides are cut, each for itself."""
    out: Path
    """Folder to write to: pairs.tsv and audio."""
    workers: int = os.cpu_count() or 1
    """Processes; one a core by default."""
    settings: Annotated[CutSettings, arg(name="")] = field(default_factory=CutSettings)
    """How to cut."""

    def run(self) -> None:
        """Cut, and say how many pieces there are."""
        from polyvoice.corpus.copying import MANIFEST
        from polyvoice.corpus.cut import cut_corpus

        pieces, recordings = cut_corpus(self.manifest, self.out, self.settings, workers=self.workers)
        print(f"{self.out / MANIFEST}: {pieces:,} pieces of {recordings:,} recordings")
