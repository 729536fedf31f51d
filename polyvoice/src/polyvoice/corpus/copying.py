"""Writing changed copies of a manifest's rows and their audio, in parallel; a run that was killed goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from polyvoice.corpus.augment import augment
from polyvoice.corpus.flac import write_flac
from polyvoice.corpus.growing import GrowingTable
from polyvoice.corpus.manifest import COLUMNS, PairRow, format_row
from polyvoice.corpus.splits import hash_fraction
from polyvoice.corpus.workers import claim_folder, open_pool, work_through
from polyvoice.errors import InputError
from speechunits.audio import read_audio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from polyvoice.corpus.augmentation import Augmentation

MANIFEST = "pairs.tsv"
SETTINGS = "augment.json"


@dataclass(frozen=True, slots=True)
class Sound:
    """A file to be written.

    Attributes:
        clean: what it is made of.
        path: where it goes.
        key: what its changes are drawn by.
    """

    clean: Path
    path: Path
    key: str


@dataclass(frozen=True, slots=True)
class Copy:
    """A row to be written, after those of its sounds that no row before it has.

    Attributes:
        row: names the new files.
        sounds: to be written first.
    """

    row: PairRow
    sounds: tuple[Sound, ...]


def write_copies(
    copies: Sequence[Copy],
    out: Path,
    settings: Augmentation,
    identity: Mapping[str, object],
    *,
    seed: int,
    workers: int,
) -> int:
    """Write `pairs.tsv`, `augment.json` and the folder `audio`; rows that are there are not made again.

    Args:
        copies: All that the manifest shall have, in order.
        out: The folder.
        settings: What may happen to speech.
        identity: What the folder is made with; another run with other values is refused.
        seed: Another seed, other changes.
        workers: Processes.

    Returns:
        How many rows the manifest has.

    Raises:
        InputError: The folder is of other settings or has rows that are not among these, or another run is writing to
            it.
        speechunits.errors.InputError: An audio file cannot be read.
    """
    claim_folder(out, SETTINGS, identity)
    with open_pool(workers, _prepare, (settings, seed)) as pool, GrowingTable(out / MANIFEST, COLUMNS) as table:
        lines = {copy.row.id: format_row(copy.row, out) for copy in copies}
        for key, line in table.rows.items():
            if lines.get(key) != line:
                raise InputError(f"{table.path}: row {key} was made from another manifest; use another folder")
        waiting = [copy for copy in copies if copy.row.id not in table.keys]
        for copy, _ in zip(waiting, work_through(pool, "augmenting", _write_sounds, waiting), strict=True):
            table.append([lines[copy.row.id]])
        return len(table.keys)


def require_positive(copies: int, workers: int) -> None:
    """Refuse what cannot be made.

    Raises:
        InputError: There are no copies to make, or no workers to make them.
    """
    if copies < 1 or workers < 1:
        raise InputError(f"copies and workers are at least 1, not {copies} and {workers}")


def name_file(key: str, out: Path) -> Path:
    """Where the sound of this name goes; other names, other files."""
    # Names may hold what file names may not, and be longer.
    name = "".join(character if character.isalnum() or character in "._~+-@" else "_" for character in key)
    if name != key or len(name) > 60:
        # Cut, for file names have at most 255 bytes, of which a letter may take four.
        name = f"{name[:60]}.{int(2**32 * hash_fraction('file', key)):08x}"
    return out / "audio" / f"{int(200 * hash_fraction('folder', key)):03d}" / f"{name}.flac"


_settings: Augmentation
_seed: int


def _prepare(settings: Augmentation, seed: int) -> None:
    """Runs first in each worker, whose own these globals are."""
    global _settings, _seed
    _settings, _seed = settings, seed


def _write_sounds(copy: Copy) -> None:
    """Write a row's files; runs in a worker."""
    for sound in copy.sounds:
        sound.path.parent.mkdir(parents=True, exist_ok=True)
        write_flac(sound.path, augment(read_audio(sound.clean), _settings, _seed, sound.key))
