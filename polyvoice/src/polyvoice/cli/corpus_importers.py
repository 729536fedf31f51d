"""`polyvoice corpus {cvss,covost2,fleurs,gigas2s}`: published corpora to pair manifests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

if TYPE_CHECKING:
    from polyvoice.corpus.importers.layout import Imported


@dataclass(frozen=True, kw_only=True)
class Cvss:
    """Bring in CVSS: speech into English from 21 languages, over Common Voice 4."""

    folder: Annotated[Path, Positional]
    """An unpacked archive, such as cvss_t_es_en_v1.0."""
    common_voice: Path
    """Common Voice 4 of the source language: validated.tsv and clips."""
    source: Annotated[str, arg(name="from")]
    """Its code, such as es or zh."""
    same_voice: bool = False
    """Both sides are of one voice: give it for CVSS-T, not for CVSS-C."""
    out: Path
    """The manifest to write."""

    def run(self) -> None:
        """Read, write, and say how much."""
        from polyvoice.corpus.importers.cvss import import_cvss

        _write(import_cvss(self.folder, self.common_voice, self.source, same_voice=self.same_voice), self.out)


@dataclass(frozen=True, kw_only=True)
class Covost2:
    """Bring in CoVoST 2: Common Voice 4 with translations as text."""

    folder: Annotated[Path, Positional]
    """Folder with covost_v2.SRC_TGT.tsv, or with the tables of its splits."""
    common_voice: Path
    """Common Voice 4 of the source language: validated.tsv and clips."""
    source: Annotated[str, arg(name="from")]
    """The source's code in the names of the tables, such as es or zh-CN."""
    target: Annotated[str, arg(name="to")] = "en"
    """The target's."""
    out: Path
    """The manifest to write."""

    def run(self) -> None:
        """Read, write, and say how much."""
        from polyvoice.corpus.importers.covost2 import import_covost2

        _write(import_covost2(self.folder, self.common_voice, self.source, self.target), self.out)


@dataclass(frozen=True, kw_only=True)
class Fleurs:
    """Bring in two languages of FLEURS: the same sentences, read by different people."""

    folder: Annotated[Path, Positional]
    """Holds a folder for each language."""
    source: Annotated[str, arg(name="from")]
    """The source's folder, such as es_419."""
    target: Annotated[str, arg(name="to")] = "en_us"
    """The target's."""
    out: Path
    """The manifest to write."""

    def run(self) -> None:
        """Read, write, and say how much."""
        from polyvoice.corpus.importers.fleurs import import_fleurs

        _write(import_fleurs(self.folder, self.source, self.target), self.out)


@dataclass(frozen=True, kw_only=True)
class Gigas2s:
    """Bring in GigaS2S: GigaSpeech with Chinese translations, spoken by one synthetic voice."""

    table: Annotated[Path, Positional]
    """Its train.tsv."""
    target_audio: Path
    """Folder of the Chinese audio, unpacked."""
    source_audio: Path
    """Folder of GigaSpeech's segments, one file each, named by their ids."""
    out: Path
    """The manifest to write."""

    def run(self) -> None:
        """Read, write, and say how much."""
        from polyvoice.corpus.importers.gigas2s import import_gigas2s

        _write(import_gigas2s(self.table, self.target_audio, self.source_audio), self.out)


def _write(imported: Imported, out: Path) -> None:
    from polyvoice.corpus.manifest import write_manifest
    from polyvoice.corpus.splits import describe_splits

    write_manifest(out, imported.rows)
    splits = describe_splits(row.split for row in imported.rows)
    print(f"{out}: {len(imported.rows):,} pairs ({splits}); audio of {imported.missing:,} rows is not there")
