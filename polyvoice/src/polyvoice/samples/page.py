"""From the folder of an evaluation to a page: the same rows that made the scores, drawn without looking."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from polyvoice.errors import InputError
from polyvoice.evaluation.reading import read_evaluation
from polyvoice.provenance import read_comment
from polyvoice.samples.rendering import render_page
from polyvoice.samples.speeches import Speech, view_speech
from polyvoice.samples.views import (
    SampleView,
    SectionView,
    list_transcripts,
    name_direction,
    name_language,
    view_chips,
    view_scores,
)
from speechunits.audio import read_audio
from speechunits.files import write_atomically

if TYPE_CHECKING:
    from polyvoice.evaluation.results import Evaluation
    from polyvoice.evaluation.rows import EvaluatedRow

PAGE = "index.html"
_MEDIA = "media"


def make_page(evaluation_folder: Path, out: Path, *, count: int = 20, seed: int = 0) -> Path:
    """Write a page with players, spectrograms, units and scores of a finished evaluation.

    The page needs no network and no server: index.html and the folder media beside it can be moved together.

    Args:
        evaluation_folder: the folder that `evaluate` has written.
        out: the page's folder.
        count: samples of each direction; which ones is drawn by `seed` alone.
        seed: draws the samples.

    Returns:
        The page.

    Raises:
        InputError: the evaluation is not finished, or the folder cannot be written.
        speechunits.errors.InputError: an audio file of the evaluation is gone.
    """
    if count < 1:
        raise InputError(f"a page shows at least one sample, not {count}")
    evaluation = read_evaluation(evaluation_folder)
    try:
        (out / _MEDIA).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be made a page's folder ({error.strerror})") from None
    sections = []
    for direction, scores in evaluation.directions.items():
        rows = [row for row in evaluation.rows if row.direction == direction]
        drawn = draw_rows(rows, count, seed)
        samples = [
            _view_row(row, number, evaluation_folder, out, direction) for number, row in enumerate(drawn, start=1)
        ]
        sections.append(
            SectionView(direction, name_direction(direction), view_scores(scores), len(rows), tuple(samples))
        )
    _write_page(out / PAGE, evaluation, sections, seed)
    return out / PAGE


def draw_rows(rows: list[EvaluatedRow], count: int, seed: int) -> list[EvaluatedRow]:
    """Draw rows without looking at them; they stay in the manifest's order."""
    generator = random.Random(seed)  # noqa: S311 - a draw of samples, not a secret
    drawn = generator.sample(range(len(rows)), min(count, len(rows)))
    return [rows[position] for position in sorted(drawn)]


def _view_row(row: EvaluatedRow, number: int, folder: Path, out: Path, direction: str) -> SampleView:
    speeches = [
        Speech(
            role="source",
            title=f"Source, {name_language(row.source_lang)}",
            waveform=read_audio(folder / row.source_audio),
            units=row.source_units,
            lines=(("said", row.source_text),) if row.source_text else (),
        )
    ]
    expected = (("said" if row.reference else "reference", row.target_text),) if row.target_text else ()
    if row.reference is not None and row.target_audio is not None:
        reference = Speech(
            role="reference",
            title=f"Reference, {name_language(row.target_lang)}",
            waveform=read_audio(folder / row.target_audio),
            units=row.reference.units,
            lines=expected,
            heard=list_transcripts(row.reference),
        )
        speeches.append(reference)
        expected = ()
    said = row.translation
    output = Speech(
        role="output",
        title=f"Output, {name_language(row.target_lang)}",
        waveform=read_audio(folder / said.audio) if said.audio else None,
        units=said.units or row.output.units,
        # Without reference speech the reference text still belongs beside what was heard.
        lines=(*expected, *((("meant", said.text),) if said.text else ()), *list_transcripts(row.output)),
        # The word that it is synthetic goes with the sound; other systems' speech keeps what it says of itself.
        comment=read_comment(folder / said.audio) if said.audio else "",
    )
    speeches.append(output)
    longest = max(speech.waveform.duration_s for speech in speeches if speech.waveform)
    stem = f"{direction}-{number:02d}"
    views = [view_speech(speech, longest, partial(_write_media, out, f"{stem}-{speech.role}")) for speech in speeches]
    return SampleView(number, row.id, view_chips(row), tuple(views))


def _write_media(out: Path, stem: str, end: str, content: bytes) -> str:
    write_atomically(out / _MEDIA / f"{stem}{end}", content)
    return f"{_MEDIA}/{stem}{end}"


def _write_page(path: Path, evaluation: Evaluation, sections: list[SectionView], seed: int) -> None:
    page = render_page(
        "page.html.j2",
        {
            "system": str(evaluation.settings.get("system", "")),
            "rows": len(evaluation.rows),
            "seed": seed,
            "sections": sections,
            "missing": evaluation.missing,
            "versions": evaluation.versions,
            "settings": evaluation.settings,
        },
    )
    write_atomically(path, page.encode())
