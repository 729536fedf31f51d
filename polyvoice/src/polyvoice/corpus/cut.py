"""Cutting long recordings of a corpus into pieces that a model can learn from, each with its own words."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from polyvoice.corpus.alignment import align_clauses
from polyvoice.corpus.copying import MANIFEST, name_file
from polyvoice.corpus.cutting import CutSettings
from polyvoice.corpus.flac import write_flac
from polyvoice.corpus.manifest import PairRow, read_manifest, turn_round, write_manifest
from polyvoice.corpus.workers import claim_folder, open_pool, work_through
from polyvoice.errors import InputError
from speechunits.audio import read_audio
from speechunits.segments import Segment, cut_out, find_sound

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = "cut.json"
# Around each piece, as much as there is silence in any case.
_MARGIN_S = 0.06


def cut_corpus(manifest: Path, out: Path, settings: CutSettings, *, workers: int = 1) -> tuple[int, int]:
    """Write a manifest of the pieces of a manifest's long recordings, to learn to recognise and to speak them.

    Each side is cut for itself, so that a piece has a source and no target. Its split is that of its recording.

    Args:
        manifest: The pair manifest; sides without audio or text are passed over.
        out: Folder to write to: `pairs.tsv`, `cut.json` and the folder `audio`.
        settings: How.
        workers: Processes.

    Returns:
        How many pieces there are, and of how many recordings.

    Raises:
        InputError: The manifest cannot be read, nothing in it can be cut, or the folder is of other settings.
        speechunits.errors.InputError: An audio file cannot be read.
    """
    sides: dict[Path, PairRow] = {}
    for row in read_manifest(manifest):
        if row.source_audio is not None and row.source_text is not None:
            sides.setdefault(row.source_audio, row)
        if row.target_audio is not None and row.target_text is not None:
            sides.setdefault(row.target_audio, turn_round(row))
    claim_folder(out, SETTINGS, asdict(settings))
    pieces: list[PairRow] = []
    recordings = 0
    with open_pool(workers, _prepare, (settings, out)) as pool:
        for rows in work_through(pool, "cutting", _cut, sides.values()):
            pieces += rows
            recordings += bool(rows)
    if not pieces:
        raise InputError(f"{manifest}: no recording above {settings.above_s:g} s can be cut where a clause of it ends")
    write_manifest(out / MANIFEST, pieces)
    return len(pieces), recordings


_settings: CutSettings
_out: Path


def _prepare(settings: CutSettings, out: Path) -> None:
    """Runs first in each worker, whose own these globals are."""
    global _settings, _out
    _settings, _out = settings, out


def _cut(row: PairRow) -> list[PairRow]:
    """Write the pieces of a row's source; runs in a worker."""
    if row.source_audio is None or row.source_text is None:
        return []
    waveform = read_audio(row.source_audio)
    if waveform.duration_s <= _settings.above_s:
        return []
    speech = find_sound(waveform, shortest_pause_s=_settings.shortest_pause_s)
    pieces = []
    for number, piece in enumerate(align_clauses(speech, row.source_text, _settings.wanted_s), start=1):
        sure = 1 / _settings.surest <= piece.times <= _settings.surest
        if not sure or piece.stop_s - piece.start_s > _settings.longest_s:
            continue
        key = f"{row.id}#{number}.{row.source_lang}"
        path = name_file(key, _out)
        path.parent.mkdir(parents=True, exist_ok=True)
        start_s = max(0.0, piece.start_s - _MARGIN_S)
        write_flac(path, cut_out(waveform, Segment(start_s, piece.stop_s + _MARGIN_S)))
        pieces.append(
            PairRow(key, path, row.source_lang, piece.text, None, row.target_lang, None, row.speaker, row.split)
        )
    return pieces
