"""An evaluation from its manifest to its files: translate every row, judge every row, add up."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from polyvoice.corpus.manifest import PairRow, read_manifest
from polyvoice.errors import InputError
from polyvoice.evaluation.journal import Journal
from polyvoice.evaluation.judges import Judges, Reference
from polyvoice.evaluation.results import METRICS_VERSION, Evaluation, score_directions, score_rows
from polyvoice.evaluation.rows import EvaluatedRow, Translation, UnitRuns
from polyvoice.evaluation.run_folder import (
    AUDIO_FOLDER,
    ROWS_FILE,
    SCORES_FILE,
    TRANSLATIONS_FILE,
    change_judges,
    digest_manifest,
    open_run_folder,
)
from polyvoice.evaluation.statistics import Resampling
from polyvoice.evaluation.translator import Recordings, Translator, file_stem
from speechunits.audio import Waveform, read_audio, write_wav
from unitlm.files import write_json

if TYPE_CHECKING:
    from unitlm.files import Json

System = Translator | Recordings
Split = Literal["train", "dev", "test"]


def evaluate(
    manifest: Path,
    out: Path,
    system: System,
    judges: Judges,
    *,
    split: Split = "test",
    seed: int = 0,
    resampling: Resampling | None = None,
) -> Evaluation:
    """Translate the rows of a manifest, judge the speech beside the reference speech, and write the scores.

    Writes audio/ID.wav, translations.jsonl, rows.jsonl and scores.json into `out`. A run that was stopped, however, is
    continued by the same call; other judges judge anew, without translating anew.

    Args:
        manifest: a pair manifest; id, source_audio, source_lang and target_lang are needed.
        out: the run's folder.
        system: what is evaluated.
        judges: who judges.
        split: which rows; those of a manifest without this column are all of split test.
        seed: of the translations; a row's own seed follows from this one and its id.
        resampling: how intervals are made.

    Raises:
        InputError: the manifest cannot be used, or `out` holds a run of another system or other rows.
        speechunits.errors.InputError: an audio file cannot be read.
    """
    resampling = resampling or Resampling()
    rows = select_rows(manifest, split)
    for row in rows:
        for audio in (row.source_audio, row.target_audio):
            if audio is not None and not audio.is_file():
                raise InputError(f"{manifest}, row {row.id}: {audio} is not there")
    digest = digest_manifest(rows, Path(os.path.abspath(manifest.parent)))  # noqa: PTH100 - as read_manifest has it
    translating: dict[str, Json] = {"manifest": digest, "system": system.identity, "seed": seed}
    open_run_folder(out, translating)
    run = _Run(rows, out, system, judges, seed)
    translations = run.translate()
    judged = run.judge(translations)
    evaluation = Evaluation(
        rows=tuple(judged),
        scores=score_rows(judged, resampling),
        directions=score_directions(judged, resampling),
        missing=judges.missing,
        settings={**translating, "judges": dict(judges.identity)},
        versions={"polyvoice": version("polyvoice-s2st"), "metrics": METRICS_VERSION, **judges.versions},
        resampling=resampling,
    )
    write_json(out / SCORES_FILE, evaluation.as_json())
    return evaluation


def select_rows(manifest: Path, split: Split) -> list[PairRow]:
    """The rows of one split that can be heard; pairs of mere texts are there for training.

    Raises:
        InputError: the manifest cannot be read, or there are none.
    """
    rows = [row for row in read_manifest(manifest) if row.split == split and row.source_audio is not None]
    if not rows:
        raise InputError(f"{manifest}: no row of split {split!r} with source_audio")
    return rows


class _Run:
    """One run's rows on their way through translating and judging."""

    def __init__(self, rows: Sequence[PairRow], out: Path, system: System, judges: Judges, seed: int) -> None:
        self._rows = rows
        self._out = out
        self._system = system
        self._judges = judges
        self._seed = seed
        self._ids = {position: row.id for position, row in enumerate(rows)}

    def translate(self) -> list[Translation]:
        """Translate the rows that are not translated yet."""
        if isinstance(self._system, Recordings):
            found = [self._system.find(row.id) for row in self._rows]
            if not any(found):
                raise InputError(f"{self._system.identity}: no file is named after an id of the manifest")
            return [
                Translation(position, row.id, self._relative(path) if path else None)
                for position, (row, path) in enumerate(zip(self._rows, found, strict=True))
            ]
        with Journal(self._out / TRANSLATIONS_FILE, Translation.from_json, self._ids) as journal:
            with _progress("translating", len(self._rows), len(journal.rows)) as step:
                for position, row in self._waiting(journal.rows):
                    journal.append(self._translate(self._system, position, row))
                    step()
            return [journal.rows[position] for position in range(len(self._rows))]

    def judge(self, translations: Sequence[Translation]) -> list[EvaluatedRow]:
        """Judge the rows that these judges have not judged yet."""
        with Journal(self._out / ROWS_FILE, EvaluatedRow.from_json, self._ids) as journal:
            # With the file locked: no other process judges between the question and the answer.
            if change_judges(self._out, dict(self._judges.identity)):
                journal.clear()
            with _progress("judging", len(self._rows), len(journal.rows)) as step:
                for position, row in self._waiting(journal.rows):
                    journal.append(self._judge(position, row, translations[position]))
                    step()
            return [journal.rows[position] for position in range(len(self._rows))]

    def _waiting(self, done: Mapping[int, object]) -> list[tuple[int, PairRow]]:
        return [(position, row) for position, row in enumerate(self._rows) if position not in done]

    def _translate(self, system: Translator, position: int, row: PairRow) -> Translation:
        # Not the position alone: the same row of another manifest is to get the same speech.
        seed = zlib.crc32(f"{self._seed} {row.id}".encode())
        said = system.translate(_source(row), row.source_lang, row.target_lang, seed=seed)
        audio = None
        if said.waveform is not None:
            audio = f"{AUDIO_FOLDER}/{file_stem(row.id)}.wav"
            write_wav(self._out / audio, said.waveform)
        units = UnitRuns.of(said.runs)
        return Translation(position, row.id, audio, units, said.text, dict(said.seconds), said.first_audio_s)

    def _judge(self, position: int, row: PairRow, translation: Translation) -> EvaluatedRow:
        source = _source(row)
        output = read_audio(self._out / translation.audio) if translation.audio else None
        target = read_audio(row.target_audio) if row.target_audio else None
        source_units, output_units, target_units = self._judges.hear_units([source, output, target])
        reference = Reference(source, row.target_text, row.target_lang, target_units)
        return EvaluatedRow(
            position=position,
            id=row.id,
            source_lang=row.source_lang,
            target_lang=row.target_lang,
            source_audio=self._relative(_source_path(row)),
            source_text=row.source_text,
            source_duration_s=source.duration_s,
            source_units=source_units,
            target_audio=self._relative(row.target_audio) if row.target_audio else None,
            target_text=row.target_text,
            translation=translation,
            output=self._judges.judge(output, output_units, reference),
            reference=self._judges.judge(target, target_units, reference) if target else None,
        )

    def _relative(self, path: Path) -> str:
        """A path as seen from the run's folder, so that both can be moved together."""
        return Path(os.path.relpath(path, self._out)).as_posix()


def _source_path(row: PairRow) -> Path:
    if row.source_audio is None:
        raise InputError(f"row {row.id}: there is no source_audio")
    return row.source_audio


def _source(row: PairRow) -> Waveform:
    return read_audio(_source_path(row))


@contextmanager
def _progress(description: str, total: int, done: int) -> Iterator[Callable[[], None]]:
    """Show on stderr how far a run is; gives what is to be called after each row."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(description, total=total, completed=done)
        yield lambda: progress.advance(task)
