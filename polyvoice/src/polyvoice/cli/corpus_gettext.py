"""`polyvoice corpus gettext`: the translations of programs as pairs of text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg


@dataclass(frozen=True, kw_only=True)
class Gettext:
    """Write the messages of programs and their translations as a manifest of texts, to learn to translate from.

    Every Linux system has them; each program's licence holds for its own.
    """

    folder: Annotated[Path, Positional]
    """Catalogs (*.mo), here or in folders below, such as /usr/share/locale/es/LC_MESSAGES."""
    out: Path
    """The manifest to write."""
    source: Annotated[str, arg(name="from")] = "en"
    """Language that the programs are written in."""
    target: Annotated[str, arg(name="to")] = "es"
    """Language of the catalogs."""
    longest: int = 12
    """Words that a message may have, 0 for any number; of Chinese, two characters count as a word."""
    dev: float = 0.01
    """Part of the messages that is held out for development."""
    test: float = 0.01
    """Part of the messages that is held out for testing."""

    def run(self) -> None:
        """Read, write, and say how many."""
        from polyvoice.corpus.gettext_catalogs import GettextSettings, read_catalogs
        from polyvoice.corpus.manifest import write_manifest
        from polyvoice.corpus.splits import Shares, describe_splits

        rows = read_catalogs(
            self.folder, GettextSettings(self.source, self.target, self.longest), Shares(self.dev, self.test)
        )
        write_manifest(self.out, rows)
        print(f"{self.out}: {len(rows):,} pairs ({describe_splits(row.split for row in rows)})")
