"""Cutting long recordings of a corpus into pieces that a model can learn from, each with its own words."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import track

from polyvoice.corpus.alignment import align_clauses
from polyvoice.corpus.copying import MANIFEST, name_file
from polyvoice.corpus.cutting import CutSettings
from polyvoice.corpus.flac import write_flac
from polyvoice.corpus.manifest import PairRow, read_manifest, write_manifest
from polyvoice.corpus.workers import claim_folder, open_pool
from polyvoice.errors import InputError
from speechunits.audio import Waveform, read_audio
from speechunits.segments import find_sound

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = "cut.json"
# Around each piece, as much as there is silence in any case.
_MARGIN_S = 0.06


@dataclass(frozen=True, slots=True)
class _Side:
    """One side of a row that may be cut: `turned` where it is the target."""

    row: PairRow
    turned: bool

    @property
    def audio(self) -> Path | None:
        return self.row.target_audio if self.turned else self.row.source_audio

    @property
    def text(self) -> str | None:
        return self.row.target_text if self.turned else self.row.source_text

    @property
    def languages(self) -> tuple[str, str]:
        row = self.row
        return (row.target_lang, row.source_lang) if self.turned else (row.source_lang, row.target_lang)


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
    sides: dict[Path, _Side] = {}
    for row in read_manifest(manifest):
        for side in (_Side(row, turned=False), _Side(row, turned=True)):
            if side.audio is not None and side.text is not None:
                sides.setdefault(side.audio, side)
    claim_folder(out, SETTINGS, asdict(settings))
    pieces: list[PairRow] = []
    recordings = 0
    with open_pool(workers, _prepare, (settings, out)) as pool:
        console = Console(stderr=True)
        found = pool.map(_cut, sides.values(), chunksize=8)
        for rows in track(found, "cutting", len(sides), console=console, disable=not console.is_terminal):
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


def _cut(side: _Side) -> list[PairRow]:
    """Write the pieces of a recording; runs in a worker."""
    if side.audio is None or side.text is None:
        return []
    waveform = read_audio(side.audio)
    if waveform.duration_s <= _settings.above_s:
        return []
    speech = find_sound(waveform, shortest_pause_s=_settings.shortest_pause_s)
    rows = []
    own, other = side.languages
    for number, piece in enumerate(align_clauses(speech, side.text, _settings.wanted_s), start=1):
        sure = 1 / _settings.surest <= piece.times <= _settings.surest
        if not sure or piece.stop_s - piece.start_s > _settings.longest_s:
            continue
        key = f"{side.row.id}#{number}.{own}"
        path = name_file(key, _out)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_flac(path, _slice(waveform, piece.start_s - _MARGIN_S, piece.stop_s + _MARGIN_S))
        rows.append(PairRow(key, path, own, piece.text, None, other, None, side.row.speaker, side.row.split))
    return rows


def _slice(waveform: Waveform, start_s: float, stop_s: float) -> Waveform:
    start, stop = (max(0, round(second * waveform.rate_hz)) for second in (start_s, stop_s))
    return Waveform(waveform.samples[start:stop], waveform.rate_hz)
