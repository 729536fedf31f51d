"""`polyvoice corpus tatoeba`: sentence pairs to be spoken."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg


@dataclass(frozen=True, kw_only=True)
class Tatoeba:
    """Write sentence pairs of Tatoeba as a manifest of texts, for `polyvoice corpus speak`.

    Choose the two languages under "Sentence pairs" at tatoeba.org/downloads (CC BY 2.0 FR: name Tatoeba and the ids).
    """

    pairs: Annotated[Path, Positional]
    """Table: id, sentence, id of the translation, translation; or with a header such as en, zh, tatoeba_en, ..."""
    out: Path
    """The manifest to write."""
    source: Annotated[str, arg(name="from")] = "en"
    """Language of the first sentence."""
    target: Annotated[str, arg(name="to")] = "zh"
    """Language of its translation."""
    longest: int = 8
    """Words that a sentence may have, 0 for any number; of Chinese, two characters count as a word."""
    keep_numbers: bool = False
    """Keep sentences with digits."""
    no_simplify: bool = False
    """Keep traditional characters."""
    dev: float = 0.01
    """Part of the sentences that is held out for development."""
    test: float = 0.01
    """Part of the sentences that is held out for testing."""

    def run(self) -> None:
        """Read, write, and say how many."""
        from polyvoice.corpus.manifest import write_manifest
        from polyvoice.corpus.splits import Shares, describe_splits
        from polyvoice.corpus.tatoeba import TatoebaSettings, read_tatoeba

        settings = TatoebaSettings(self.source, self.target, self.longest, self.keep_numbers, not self.no_simplify)
        rows = read_tatoeba(self.pairs, settings, Shares(self.dev, self.test))
        write_manifest(self.out, rows)
        print(f"{self.out}: {len(rows):,} pairs ({describe_splits(row.split for row in rows)})")
