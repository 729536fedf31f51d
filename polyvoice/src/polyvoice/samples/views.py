"""What the page's template shows: rows and scores made ready for reading. Text is escaped by the template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from polyvoice.evaluation.text_scores import chrf_of_sums

if TYPE_CHECKING:
    from polyvoice.evaluation.results import Scores
    from polyvoice.evaluation.rows import EvaluatedRow, Judgement, UnitRuns
    from polyvoice.evaluation.statistics import Score

LANGUAGES: Mapping[str, str] = {"en": "English", "es": "Spanish", "zh": "Chinese", "fr": "French", "de": "German"}

_LABELS: Mapping[str, tuple[str, str]] = {
    "asr_bleu": ("ASR-BLEU", "BLEU of what a recogniser hears, 0 to 100"),
    "chrf": ("ASR-chrF", "character n-grams of what it hears, 0 to 100"),
    "asr_error_rate": (
        "Recogniser's error rate",
        "words (Chinese: characters) that differ from the reference; lower is better",
    ),
    "speaker_similarity": ("Voice kept", "cosine of d-vectors, output and source"),
    "mos": ("Naturalness (Distill-MOS)", "predicted opinion, 1 to 5"),
    "dnsmos": ("Naturalness (DNSMOS)", "predicted opinion, 1 to 5"),
    "within_20": ("Length within 20 %", "share of outputs as long as the source, give or take"),
    "within_40": ("Length within 40 %", "share of outputs as long as the source, give or take"),
    "length_ratio": ("Length, output over source", "mean"),
    "unit_error_rate": ("Unit error rate", "units of the output not as in the reference speech; lower is better"),
    "repetition_units": ("Loops in units", "share of units inside a loop; lower is better"),
    "repetition_text": ("Loops in the transcript", "share of words inside a loop; lower is better"),
    "empty": ("Nothing said", "share of outputs; lower is better"),
    "rtf": ("Real-time factor", "compute seconds a second of source; lower is better"),
    "first_audio_s": ("Seconds to the first sound", "after the end of the source; lower is better"),
}


@dataclass(frozen=True, slots=True)
class ScoreView:
    """A line of a score table."""

    label: str
    meaning: str
    value: str
    interval: str
    ceiling: str
    count: str


@dataclass(frozen=True, slots=True)
class Chip:
    """A score of one sample."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class SpeechView:
    """One of the players of a sample.

    Attributes:
        role: source, reference or output.
        title: what it is, with its language.
        audio: address of the sound, for the page; empty when nothing was said.
        spectrogram: address of the picture.
        strip: address of the strip of units; empty when there are none.
        units: the units with their frames, for reading.
        duration: length in seconds.
        percent: its length as part of the longest of the sample.
        lines: what is said in it, with who says so.
        heard: what recognisers hear in it, where that is said in passing only.
    """

    role: str
    title: str
    audio: str
    spectrogram: str
    strip: str
    units: str
    duration: str
    percent: str
    lines: tuple[tuple[str, str], ...]
    heard: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class SampleView:
    """One row of the manifest."""

    number: int
    id: str
    chips: tuple[Chip, ...]
    speeches: tuple[SpeechView, ...]


@dataclass(frozen=True, slots=True)
class SectionView:
    """One direction."""

    name: str
    title: str
    scores: tuple[ScoreView, ...]
    count: int
    samples: tuple[SampleView, ...]


def name_direction(direction: str) -> str:
    """`es-en` as `Spanish to English`."""
    return " to ".join(name_language(language) for language in direction.split("-"))


def name_language(language: str) -> str:
    """A language by its name where we know it."""
    return LANGUAGES.get(language, language)


def view_scores(scores: Scores) -> tuple[ScoreView, ...]:
    """The lines of a direction's table; the first recogniser's scores stand for the text, the others follow it."""
    views = [_view_score(name, score, scores.ceiling.get(name)) for name, score in scores.output.items()]
    for recognizer, heard in list(scores.recognizers.items())[1:]:
        views += [
            _view_score(name, score, heard.ceiling.get(name), f", {recognizer}") for name, score in heard.output.items()
        ]
    return tuple(views)


def view_chips(row: EvaluatedRow) -> tuple[Chip, ...]:
    """The scores of one row that say most."""
    judged = row.output
    chips = [Chip("nothing said", "")] if judged.empty else []
    match = judged.transcripts[0].match if judged.transcripts else None
    if match is not None:
        chips.append(Chip("ASR-chrF", f"{chrf_of_sums(np.array([match.chrf]))[0]:.0f}"))
    if judged.speaker_similarity is not None:
        chips.append(Chip("voice", f"{judged.speaker_similarity:.2f}"))
    if "mos" in judged.opinions:
        chips.append(Chip("MOS", f"{judged.opinions['mos']:.1f}"))
    if judged.unit_edits is not None and judged.reference_units:
        chips.append(Chip("unit errors", f"{100 * judged.unit_edits / judged.reference_units:.0f} %"))
    chips.append(Chip("length", f"{100 * judged.duration_s / row.source_duration_s:.0f} %"))
    if row.translation.seconds:
        chips.append(Chip("RTF", f"{sum(row.translation.seconds.values()) / row.source_duration_s:.2f}"))
    return tuple(chips)


def list_transcripts(judged: Judgement) -> tuple[tuple[str, str], ...]:
    """What each recogniser heard."""
    return tuple((f"heard by {heard.recognizer}", heard.text or "(nothing)") for heard in judged.transcripts)


def write_runs(runs: UnitRuns | None) -> str:
    """Units with their frames, as in `17\u00d73 52 8\u00d72`."""
    if runs is None:
        return ""
    pairs = zip(runs.units, runs.lengths, strict=True)
    return " ".join(f"{unit}\u00d7{frames}" if frames > 1 else str(unit) for unit, frames in pairs)


def _view_score(name: str, score: Score, ceiling: Score | None, suffix: str = "") -> ScoreView:
    label, meaning = _LABELS.get(name, (_name_stage(name), "compute seconds a second of source; lower is better"))
    return ScoreView(
        label=label + suffix,
        meaning=meaning,
        value=_write(name, score.value),
        interval=f"{_write(name, score.low)} \u2013 {_write(name, score.high)}",
        ceiling=_write(name, ceiling.value) if ceiling else "",
        count=str(score.n),
    )


def _name_stage(name: str) -> str:
    return f"Real-time factor of {name.removeprefix('rtf_')}"


def _write(name: str, value: float) -> str:
    return f"{value:.1f}" if name in ("asr_bleu", "chrf") else f"{value:.2f}"
