"""One translated row and one judged row, and how they are written as lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from polyvoice.evaluation.text_scores import TextMatch
from speechunits.runs import Runs


@dataclass(frozen=True, slots=True)
class UnitRuns:
    """Units `[S]` with their lengths in frames, as plain numbers that compare and are written as JSON."""

    units: tuple[int, ...]
    lengths: tuple[int, ...]

    @classmethod
    def of(cls, runs: Runs | None) -> UnitRuns | None:
        """The same runs as plain numbers."""
        return None if runs is None else cls(tuple(runs.units.tolist()), tuple(runs.lengths.tolist()))

    def expand(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """One unit a frame, `[T]`."""
        return np.repeat(np.array(self.units, dtype=np.int64), np.array(self.lengths, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class Translation:
    """What the system said to one row.

    Attributes:
        position: the row's place in the manifest, from 0.
        id: the manifest's id.
        audio: the speech, relative to the run's folder; None when nothing was said.
        units: the units that the system said, where it has any.
        text: what it meant to say, where it knows.
        seconds: compute seconds by stage.
        first_audio_s: seconds to the first sound.
    """

    position: int
    id: str
    audio: str | None
    units: UnitRuns | None = None
    text: str | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    first_audio_s: float | None = None

    def to_json(self) -> str:
        """The row as one line."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> Translation:
        """The row of a line that `to_json` wrote.

        Raises:
            ValueError: the line is no such row.
        """
        try:
            return _translation(json.loads(line))
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not a translation: {error}") from error


@dataclass(frozen=True, slots=True)
class Transcript:
    """What one recogniser heard.

    Attributes:
        recognizer: its name.
        text: as it wrote it; empty where there was nothing to hear, and then it was not asked.
        match: how the text compares with the reference text; None where there is no reference text.
    """

    recognizer: str
    text: str
    match: TextMatch | None


@dataclass(frozen=True, slots=True)
class Judgement:
    """All that was measured on one piece of speech; None stands for what could not be measured.

    Attributes:
        duration_s: its length; 0.0 when there is none.
        empty: whether nothing is said in it, see `sequences.is_empty`.
        transcripts: what each recogniser of the language heard; the first one's is the headline.
        speaker_similarity: cosine of its voice and the source's.
        opinions: predicted mean opinion scores by metric, `mos` and `dnsmos`.
        units: what the unit encoder hears in it.
        unit_edits: edits from its deduplicated units to the reference speech's.
        reference_units: how many deduplicated units the reference speech has.
    """

    duration_s: float
    empty: bool
    transcripts: tuple[Transcript, ...]
    speaker_similarity: float | None
    opinions: Mapping[str, float]
    units: UnitRuns | None
    unit_edits: int | None
    reference_units: int | None


@dataclass(frozen=True, slots=True)
class EvaluatedRow:
    """A row of the manifest with what was said to it and how that was judged.

    Attributes:
        position: its place in the manifest, from 0.
        id: the manifest's id.
        source_lang: language of the source.
        target_lang: language of the output.
        source_audio: relative to the run's folder.
        source_text: what is said in it, if known.
        source_duration_s: its length.
        source_units: what the unit encoder hears in it.
        target_audio: the reference speech, relative to the run's folder, if there is any.
        target_text: the reference text, if there is any.
        translation: what the system said.
        output: judgement of it.
        reference: judgement of the reference speech in its place: the ceiling of every score.
    """

    position: int
    id: str
    source_lang: str
    target_lang: str
    source_audio: str
    source_text: str | None
    source_duration_s: float
    source_units: UnitRuns | None
    target_audio: str | None
    target_text: str | None
    translation: Translation
    output: Judgement
    reference: Judgement | None

    @property
    def direction(self) -> str:
        """Such as `zh-en`."""
        return f"{self.source_lang}-{self.target_lang}"

    def to_json(self) -> str:
        """The row as one line."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> EvaluatedRow:
        """The row of a line that `to_json` wrote.

        Raises:
            ValueError: the line is no such row.
        """
        try:
            cells = json.loads(line)
            cells["translation"] = _translation(cells["translation"])
            cells["source_units"] = _unit_runs(cells["source_units"])
            cells["output"] = _judgement(cells["output"])
            cells["reference"] = None if cells["reference"] is None else _judgement(cells["reference"])
            return cls(**cells)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not an evaluated row: {error}") from error


def _translation(cells: dict[str, Any]) -> Translation:
    return Translation(**{**cells, "units": _unit_runs(cells["units"])})


def _unit_runs(cells: dict[str, Any] | None) -> UnitRuns | None:
    return None if cells is None else UnitRuns(tuple(cells["units"]), tuple(cells["lengths"]))


def _judgement(cells: dict[str, Any]) -> Judgement:
    transcripts = tuple(
        Transcript(
            heard["recognizer"],
            heard["text"],
            heard["match"]
            and TextMatch(**{**heard["match"], **{k: tuple(heard["match"][k]) for k in ("bleu", "chrf")}}),
        )
        for heard in cells["transcripts"]
    )
    return Judgement(**{**cells, "transcripts": transcripts, "units": _unit_runs(cells["units"])})
