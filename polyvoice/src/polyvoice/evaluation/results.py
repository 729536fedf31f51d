"""What an evaluation found, and the file that says so.

All scores are made from the judged rows alone, so they can be made again from rows.jsonl at any time. Scales: BLEU and
chrF 0 to 100, opinion scores 1 to 5, everything else a share or a ratio.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from polyvoice.evaluation.normalization import NORMALIZER, normalize_text, split_words
from polyvoice.evaluation.rows import EvaluatedRow, Judgement
from polyvoice.evaluation.sequences import repetition_rate
from polyvoice.evaluation.statistics import Resampling, Score, score_mean, score_ratio, score_sums
from polyvoice.evaluation.text_scores import TextMatch, bleu_of_sums, bleu_tokenizer, chrf_of_sums

if TYPE_CHECKING:
    from unitlm.files import Json

METRICS_VERSION = "1"
"""Raised whenever the same speech would get another score."""

Speech = tuple[EvaluatedRow, Judgement]


@dataclass(frozen=True, slots=True)
class RecognizerScores:
    """What one recogniser says of the outputs, and of the reference speech: its own error rate is the latter's."""

    output: Mapping[str, Score]
    ceiling: Mapping[str, Score]


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of a set of rows.

    Attributes:
        output: scores of the system's speech by metric; a metric without a row is not there.
        ceiling: the same of the reference speech, on the rows that have it.
        recognizers: scores of the text by each recogniser.
    """

    output: Mapping[str, Score]
    ceiling: Mapping[str, Score]
    recognizers: Mapping[str, RecognizerScores]

    def as_json(self) -> dict[str, Json]:
        """One entry a metric, then the ceilings and the recognisers."""
        return {
            **_as_json(self.output),
            "ceiling": _as_json(self.ceiling),
            "recognizers": {
                name: {**_as_json(scores.output), "ceiling": _as_json(scores.ceiling)}
                for name, scores in self.recognizers.items()
            },
        }


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A finished run.

    Attributes:
        rows: every row, in the manifest's order.
        scores: of all rows; rows of several target languages are pooled, each with its own language's tokenizer.
        directions: of the rows of each direction.
        missing: metrics that could not be computed, with what to do about it.
        settings: what the run was made with.
        versions: of everything that the scores depend on.
    """

    rows: tuple[EvaluatedRow, ...]
    scores: Scores
    directions: Mapping[str, Scores]
    missing: Mapping[str, str]
    settings: Mapping[str, Json]
    versions: Mapping[str, str]
    resampling: Resampling

    def as_json(self) -> dict[str, Json]:
        """The contents of scores.json."""
        languages = sorted({row.target_lang for row in self.rows})
        return {
            **self.scores.as_json(),
            "directions": {name: scores.as_json() for name, scores in self.directions.items()},
            "rows": len(self.rows),
            "missing": dict(self.missing),
            "bleu_tokenizers": {language: bleu_tokenizer(language) for language in languages},
            "normalizer": NORMALIZER,
            "resampling": {**asdict(self.resampling), "interval": 0.95},
            "settings": dict(self.settings),
            "versions": dict(self.versions),
        }


def score_rows(rows: Sequence[EvaluatedRow], resampling: Resampling) -> Scores:
    """Score judged rows."""
    outputs = [(row, row.output) for row in rows]
    references = [(row, row.reference) for row in rows if row.reference is not None]
    names = dict.fromkeys(heard.recognizer for row in rows for heard in row.output.transcripts)
    return Scores(
        output=_score_speech(outputs, resampling) | _score_costs(rows, resampling),
        ceiling=_score_speech(references, resampling),
        recognizers={
            name: RecognizerScores(
                _score_texts(_matches(outputs, name), resampling), _score_texts(_matches(references, name), resampling)
            )
            for name in names
        },
    )


def score_directions(rows: Sequence[EvaluatedRow], resampling: Resampling) -> dict[str, Scores]:
    """Score the rows of each direction, in the order in which directions first occur."""
    names = dict.fromkeys(row.direction for row in rows)
    return {name: score_rows([row for row in rows if row.direction == name], resampling) for name in names}


def _score_speech(speeches: Sequence[Speech], resampling: Resampling) -> dict[str, Score]:
    judgements = [judged for _, judged in speeches]
    ratios = [judged.duration_s / row.source_duration_s for row, judged in speeches]
    edits = [
        (float(judged.unit_edits), float(judged.reference_units or 0))
        for row, judged in speeches
        # The reference speech compared with itself would only say 0.
        if judged.unit_edits is not None and judged is row.output
    ]

    def mean(values: Iterable[float | None]) -> Score | None:
        return score_mean([value for value in values if value is not None], resampling)

    scores = {
        "speaker_similarity": mean(judged.speaker_similarity for judged in judgements),
        "mos": mean(judged.opinions.get("mos") for judged in judgements),
        "dnsmos": mean(judged.opinions.get("dnsmos") for judged in judgements),
        "within_20": mean(float(abs(ratio - 1) <= 0.2) for ratio in ratios),
        "within_40": mean(float(abs(ratio - 1) <= 0.4) for ratio in ratios),
        "length_ratio": mean(ratios),
        "unit_error_rate": score_ratio(edits, resampling),
        "repetition_units": mean(repetition_rate(judged.units.units) for judged in judgements if judged.units),
        "repetition_text": mean(_repetition_of_text(row, judged) for row, judged in speeches),
        "empty": mean(float(judged.empty) for judged in judgements),
    }
    return _score_texts(_matches(speeches, None), resampling) | _present(scores)


def _score_texts(matches: Sequence[TextMatch], resampling: Resampling) -> dict[str, Score]:
    return _present(
        {
            "asr_bleu": score_sums([match.bleu for match in matches], bleu_of_sums, resampling),
            "chrf": score_sums([match.chrf for match in matches], chrf_of_sums, resampling),
            "asr_error_rate": score_ratio([(match.edits, match.length) for match in matches], resampling),
        }
    )


def _score_costs(rows: Sequence[EvaluatedRow], resampling: Resampling) -> dict[str, Score]:
    """Compute seconds per second of source speech, in all and by stage, and seconds to the first sound."""
    timed = [row for row in rows if row.translation.seconds]
    stages = dict.fromkeys(stage for row in timed for stage in row.translation.seconds)
    pairs = {"rtf": [(sum(row.translation.seconds.values()), row.source_duration_s) for row in timed]}
    for stage in stages:
        pairs[f"rtf_{stage}"] = [(row.translation.seconds.get(stage, 0.0), row.source_duration_s) for row in timed]
    first = [row.translation.first_audio_s for row in rows if row.translation.first_audio_s is not None]
    scores = {name: score_ratio(summands, resampling) for name, summands in pairs.items()}
    return _present(scores | {"first_audio_s": score_mean(first, resampling)})


def _matches(speeches: Sequence[Speech], recognizer: str | None) -> list[TextMatch]:
    """Of one recogniser, or of the first of each row's language."""
    chosen = [
        judged.transcripts[:1] if recognizer is None else [t for t in judged.transcripts if t.recognizer == recognizer]
        for _, judged in speeches
    ]
    return [heard.match for transcripts in chosen for heard in transcripts if heard.match is not None]


def _repetition_of_text(row: EvaluatedRow, judged: Judgement) -> float | None:
    if not judged.transcripts:
        return None
    text = normalize_text(judged.transcripts[0].text, row.target_lang)
    return repetition_rate(split_words(text, row.target_lang))


def _present(scores: Mapping[str, Score | None]) -> dict[str, Score]:
    return {name: score for name, score in scores.items() if score is not None}


def _as_json(scores: Mapping[str, Score]) -> dict[str, Json]:
    return {name: dict(score.as_json()) for name, score in scores.items()}
