"""`polyvoice corpus merge`, `augment`, `voices` and `recordings`: manifests to manifests and lists."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from polyvoice.corpus.augmentation import Augmentation


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


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Write augmented copies of training rows: speed, pitch, noise, rooms and telephones, on the source side only.

    A run that was killed goes on. Train with the originals beside the copies: merge both manifests.
    """

    manifest: Annotated[Path, Positional]
    """Pair manifest; only its rows of split train are copied."""
    out: Path
    """Folder to write to: pairs.tsv and audio."""
    copies: int = 1
    """Copies of each row."""
    both_directions: bool = False
    """Also turn each row round, and augment what was its target."""
    seed: int = 0
    """Another seed, other copies."""
    workers: int = os.cpu_count() or 1
    """Processes; one a core by default."""
    settings: Annotated[Augmentation, arg(name="")] = field(default_factory=Augmentation)
    """What may happen to speech."""

    def run(self) -> None:
        """Augment, and say how many rows there are."""
        from polyvoice.corpus.augment_corpus import augment_corpus
        from polyvoice.corpus.copying import MANIFEST

        rows = augment_corpus(
            self.manifest,
            self.out,
            self.settings,
            copies=self.copies,
            both_directions=self.both_directions,
            seed=self.seed,
            workers=self.workers,
        )
        print(f"{self.out / MANIFEST}: {rows:,} rows")


@dataclass(frozen=True, kw_only=True)
class Voices:
    """Write copies of training rows in new voices: both sides faster or slower alike, so that pitch and formants move.

    A run that was killed goes on. Train with the originals beside the copies: merge both manifests.
    """

    manifest: Annotated[Path, Positional]
    """Pair manifest; only its rows of split train that are spoken on both sides are copied."""
    out: Path
    """Folder to write to: pairs.tsv and audio."""
    copies: int = 1
    """New voices that each speaker gets."""
    speed: tuple[float, float] = (0.85, 1.15)
    """Range of speeds; each new voice has one of its own."""
    seed: int = 0
    """Another seed, other speeds."""
    workers: int = os.cpu_count() or 1
    """Processes; one a core by default."""

    def run(self) -> None:
        """Make them, and say how many rows there are."""
        from polyvoice.corpus.copying import MANIFEST
        from polyvoice.corpus.new_voices import make_voices

        rows = make_voices(
            self.manifest, self.out, self.speed, copies=self.copies, seed=self.seed, workers=self.workers
        )
        print(f"{self.out / MANIFEST}: {rows:,} rows")


@dataclass(frozen=True, kw_only=True)
class Recordings:
    """List the recordings of a pair manifest, each once, for `speechunits extract` and `polyvoice train codec`."""

    manifest: Annotated[Path, Positional]
    """Pair manifest."""
    out: Path
    """The list to write, in the manifest's folder."""
    split: Literal["train", "dev", "test"] | None = None
    """Only those of this split."""

    def run(self) -> None:
        """List, and say how many there are."""
        from polyvoice.corpus.recordings import list_recordings

        print(f"{self.out}: {list_recordings(self.manifest, self.out, self.split):,} recordings")
