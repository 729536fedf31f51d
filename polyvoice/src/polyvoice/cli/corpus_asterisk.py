"""`polyvoice corpus asterisk`: real recordings of one speaker in two languages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg


@dataclass(frozen=True, kw_only=True)
class Asterisk:
    """Bring in Asterisk's prompts: real English and Spanish of one speaker (CC BY-SA 3.0); needs polyvoice[corpus].

    Fetch them on Debian or Ubuntu: apt-get download asterisk-core-sounds-{en,es}{,-g722}, then unpack each:
    for deb in asterisk-core-sounds-*.deb; do dpkg-deb -x $deb unpacked; done
    """

    unpacked: Annotated[Path, Positional]
    """Folder into which the packages were unpacked."""
    out: Path
    """Folder to write to: pairs.tsv, ATTRIBUTION.txt and audio."""
    source: Annotated[str, arg(name="from")] = "en"
    """Language of the source."""
    target: Annotated[str, arg(name="to")] = "es"
    """Language of the target; there are en, es, fr, it and ru, the last three by other speakers."""

    def run(self) -> None:
        """Decode, and say how much."""
        from polyvoice.corpus.asterisk import import_asterisk

        print(import_asterisk(self.unpacked, self.out, self.source, self.target))
