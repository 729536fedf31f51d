"""Augmenting the sources of a manifest's training rows, in parallel; a run that was killed goes on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import track

from polyvoice.corpus.augment import augment
from polyvoice.corpus.copies import name_copy
from polyvoice.corpus.flac import write_flac
from polyvoice.corpus.growing import GrowingTable
from polyvoice.corpus.manifest import COLUMNS, PairRow, format_row, read_manifest
from polyvoice.corpus.splits import hash_fraction
from polyvoice.corpus.workers import claim_folder, open_pool
from polyvoice.errors import InputError
from speechunits.audio import read_audio

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from polyvoice.corpus.augmentation import Augmentation

MANIFEST = "pairs.tsv"
SETTINGS = "augment.json"


@dataclass(frozen=True, slots=True)
class _Job:
    """A row to be written, and the clean audio of its source."""

    row: PairRow
    clean: Path


def augment_corpus(
    manifest: Path,
    out: Path,
    settings: Augmentation,
    *,
    copies: int = 1,
    both_directions: bool = False,
    seed: int = 0,
    workers: int = 1,
) -> int:
    """Write a manifest of augmented copies of a manifest's training rows; dev and test stay as they are.

    The source of a copy is augmented, its target is the clean one, so no stage turns a copy round in training: the
    model would learn to speak with noise. Copies of the other direction are made by `both_directions`.

    Args:
        manifest: The pair manifest; rows without source audio have no copies.
        out: Folder to write to: `pairs.tsv`, `augment.json` and the folder `audio`.
        settings: What may happen to speech.
        copies: How many copies of each row, `ID~1`, `ID~2`, ...
        both_directions: Also turn each row round and augment what was its target, as `ID~1~back`.
        seed: Another seed, other copies.
        workers: Processes.

    Returns:
        How many rows the new manifest has.

    Raises:
        InputError: The manifest cannot be read or has no training row with audio, `copies` or `workers` is not
            positive, or the folder is of other settings or another run is writing to it.
        speechunits.errors.InputError: An audio file cannot be read.
    """
    if copies < 1 or workers < 1:
        raise InputError(f"copies and workers are at least 1, not {copies} and {workers}")
    jobs = [
        job
        for row in read_manifest(manifest)
        if row.split == "train"
        for copy in range(1, copies + 1)
        for job in _plan(row, copy, out, both_directions=both_directions)
    ]
    if not jobs:
        raise InputError(f"{manifest}: no row of split train has source audio")
    claim_folder(out, SETTINGS, {"seed": seed, **asdict(settings)})
    with open_pool(workers, _prepare, (settings, seed)) as pool, GrowingTable(out / MANIFEST, COLUMNS) as table:
        waiting = [job for job in jobs if job.row.id not in table.keys]
        console = Console(stderr=True)
        rows = zip(waiting, pool.map(_augment_file, waiting, chunksize=8), strict=True)
        hidden = not console.is_terminal
        for job, _ in track(rows, "augmenting", len(waiting), console=console, disable=hidden):
            table.append([format_row(job.row, out)])
        return len(table.keys)


def _plan(row: PairRow, copy: int, out: Path, *, both_directions: bool) -> Iterator[_Job]:
    key = name_copy(row.id, copy)
    if row.source_audio is not None:
        yield _Job(replace(row, id=key, source_audio=_name_file(key, out)), row.source_audio)
    if both_directions and row.target_audio is not None:
        key = name_copy(row.id, copy, back=True)
        turned = replace(
            row,
            id=key,
            source_audio=_name_file(key, out),
            source_lang=row.target_lang,
            source_text=row.target_text,
            target_audio=row.source_audio,
            target_lang=row.source_lang,
            target_text=row.source_text,
        )
        yield _Job(turned, row.target_audio)


def _name_file(key: str, out: Path) -> Path:
    # Ids may hold what file names may not.
    name = "".join(character if character.isalnum() or character in "._~+-@" else "_" for character in key)
    if name != key:
        name = f"{name}.{int(2**32 * hash_fraction('file', key)):08x}"
    return out / "audio" / f"{int(200 * hash_fraction('folder', key)):03d}" / f"{name}.flac"


_settings: Augmentation
_seed: int


def _prepare(settings: Augmentation, seed: int) -> None:
    """Runs first in each worker, whose own these globals are."""
    global _settings, _seed
    _settings, _seed = settings, seed


def _augment_file(job: _Job) -> None:
    """Write one file; runs in a worker."""
    target = job.row.source_audio
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_flac(target, augment(read_audio(job.clean), _settings, _seed, job.row.id))
