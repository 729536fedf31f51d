"""An evaluation from its manifest to its files: translate every row, judge every row, add up."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from polyvoice.corpus.manifest import PairRow, read_manifest
from polyvoice.errors import InputError
from polyvoice.evaluation.journal import Journal
from polyvoice.evaluation.judges import Judges
from polyvoice.evaluation.recordings import Recordings, file_stem
from polyvoice.evaluation.results import METRICS_VERSION, Evaluation, score_directions, score_rows
from polyvoice.evaluation.rows import EvaluatedRow, Translation, UnitRuns
from polyvoice.evaluation.run_folder import (
    AUDIO_FOLDER,
    ROWS_FILE,
    SCORES_FILE,
    TRANSLATIONS_FILE,
    are_other_judges,
    digest_manifest,
    open_run_folder,
    remember_judges,
)
from polyvoice.evaluation.staff import (
    Employer,
    JudgeRows,
    JudgeTask,
    Present,
    System,
    TranslateRows,
    relative_to_run,
)
from polyvoice.evaluation.statistics import Resampling
from polyvoice.pipeline.protocol import Translated
from polyvoice.provenance import write_speech
from speechunits.engine import Engine, LocalEngine, in_order
from unitlm.files import write_json

if TYPE_CHECKING:
    from unitlm.files import Json

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
    engine: Engine | None = None,
    employer: Employer | None = None,
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
        engine: translates and judges the rows; this process by default. What is written is the same but for the
            seconds, which are measured.
        employer: provides `system` and `judges` on the engine's machines; by default they are copied with every row.

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
    engine = engine or LocalEngine()
    if employer is None or isinstance(engine, LocalEngine):
        employer = Present(system, judges)
    run = _Run(rows, out, engine)
    translations = run.find(system) if isinstance(system, Recordings) else run.translate(TranslateRows(employer, seed))
    judged = run.judge(JudgeRows(employer), translations, judges.identity)
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

    def __init__(self, rows: Sequence[PairRow], out: Path, engine: Engine) -> None:
        self._rows = rows
        self._out = out
        self._engine = engine
        self._ids = {position: row.id for position, row in enumerate(rows)}

    def find(self, recordings: Recordings) -> list[Translation]:
        """Take the rows' speech from a folder."""
        found = [recordings.find(row.id) for row in self._rows]
        if not any(found):
            raise InputError(f"{recordings.identity}: no file is named after an id of the manifest")
        return [
            Translation(position, row.id, relative_to_run(path, self._out) if path else None)
            for position, (row, path) in enumerate(zip(self._rows, found, strict=True))
        ]

    def translate(self, recipe: TranslateRows) -> list[Translation]:
        """Translate the rows that are not translated yet."""
        with Journal(self._out / TRANSLATIONS_FILE, Translation.from_json, self._ids) as journal:
            waiting = self._waiting(journal.rows)
            with _progress("translating", len(self._rows), len(journal.rows)) as step:
                translated = in_order(self._engine.map(recipe, [row for _, row in waiting]))
                for (position, row), said in zip(waiting, translated, strict=True):
                    journal.append(self._keep(position, row, said))
                    step()
            return [journal.rows[position] for position in range(len(self._rows))]

    def judge(
        self, recipe: JudgeRows, translations: Sequence[Translation], identity: Mapping[str, str]
    ) -> list[EvaluatedRow]:
        """Judge the rows that the judges of this identity have not judged yet."""
        with Journal(self._out / ROWS_FILE, EvaluatedRow.from_json, self._ids) as journal:
            # With the file locked: no other process judges between the question and the answer.
            if are_other_judges(self._out, dict(identity)):
                journal.clear()  # before the new ones are remembered: a kill in between clears it once more
            remember_judges(self._out, dict(identity))
            tasks = [
                JudgeTask(position, row, translations[position], self._out)
                for position, row in self._waiting(journal.rows)
            ]
            with _progress("judging", len(self._rows), len(journal.rows)) as step:
                for judged in in_order(self._engine.map(recipe, tasks)):
                    journal.append(judged)
                    step()
            return [journal.rows[position] for position in range(len(self._rows))]

    def _waiting(self, done: Mapping[int, object]) -> list[tuple[int, PairRow]]:
        return [(position, row) for position, row in enumerate(self._rows) if position not in done]

    def _keep(self, position: int, row: PairRow, said: Translated) -> Translation:
        """Write the speech of a row."""
        audio = None
        if said.waveform is not None:
            audio = f"{AUDIO_FOLDER}/{file_stem(row.id)}.wav"
            write_speech(self._out / audio, said.waveform)
        units = UnitRuns.of(said.runs)
        return Translation(position, row.id, audio, units, said.text, dict(said.seconds), said.first_audio_s)


@contextmanager
def _progress(description: str, total: int, done: int) -> Iterator[Callable[[], None]]:
    """Show on stderr how far a run is; gives what is to be called after each row."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(description, total=total, completed=done)
        yield lambda: progress.advance(task)
