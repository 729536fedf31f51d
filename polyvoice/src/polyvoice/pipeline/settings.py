"""Settings of a translation: light to import, checked when made."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

from polyvoice.errors import InputError

Route = Literal["auto", "direct", "chain"]
Durations = Literal["model", "mean"]


@dataclass(frozen=True)
class View:
    """A version of a recording that says the same.

    Attributes:
        speed: played so many times as fast; pitch moves along.
        delay_s: silence in front: other frames.
    """

    speed: float = 1.0
    delay_s: float = 0.0


TEXT_BEAMS = 4
"""Hypotheses of a search for text, unless told otherwise."""

VIEWS = (View(), View(1.05), View(0.95), View(delay_s=0.01), View(1.1), View(0.9), View(delay_s=0.005))
"""In the order in which they are heard; the delays are half and a quarter of a frame of 50 Hz."""


@dataclass(frozen=True)
class PipelineOptions:
    """How speech is translated.

    Attributes:
        route: `direct` from units to units, or `chain` by way of the text of both languages; `auto` is what
            the bundle's maker chose for the direction.
        views: how many views of the recording are heard as one, of at most 7: itself, a little faster and slower,
            and beginning within a frame. More of them mishear less, and each costs the time of encoding and reading.
        beams: hypotheses of the translation's beam search; 1 takes the most probable piece or unit after the other. By
            default 4 by way of text and 1 on the direct route. What is weighed is searched for with no fewer.
        hypotheses: by way of text, how many transcripts of the recording are weighed: the one is taken that also
            explains what was heard, as the model would speak it; and how many translations: the one is taken that,
            translated back, also explains the transcript. 1: the most probable ones.
        neighbours: by way of text, beside how many sentences like what was heard a translation is made, if the
            translation model has a memory of sentences with their translations. 0: none.
        candidates: by way of text, how many times the units of the text are written, by drawing; those are spoken in
            which the translation model itself best recognises the text. 1: the most probable units.
        durations: `model` predicts how long each unit lasts; `mean` takes its mean length in training, scaled to the
            source's length.
        temperature: of drawing the codec's first level; 0 takes the most probable code.
        top_p: draw from the smallest set of this probability only.
        best_of: draws of which the one with the largest mean log-probability is taken.
        first_level: none: the codec's decoder gets no codes, but what is said and in whose voice, if it has learned to
            be told; drawn: it gets the codes of its first level that were drawn; mean: each code counts as much as it
            was probable after those drawn before it, which recognisers understand better. auto: none where the decoder
            is told, mean where it gets the first level alone, else drawn.
        other_levels: none: the codec's decoder gets level 0 alone; best: the most probable codes of the other levels,
            too; mean: each of their codes counts as much as it is probable, which is nearer to the right spectrum and,
            with a weak model, a little less clear. auto: none where the decoder is told what is said and in whose
            voice, or where the first level is mean, else best.
        longest_piece_s: longer recordings are cut, in pauses where there are any. By way of text a model has learned
            pieces of at most so many tokens as its training's rows have (the bundle that ships: about 6 s a side).
        pause_s: pauses from this length on are always between pieces.
        longest_voice_s: the most of a recording that the voice is taken from; the model of the codec's first level
            hears no more than it did in training (the bundle that ships: 4.5 s).

    Raises:
        InputError: a value is out of range.
    """

    route: Route = "auto"
    views: int = len(VIEWS)
    beams: int | None = None
    hypotheses: int = 8
    neighbours: int = 3
    candidates: int = 9
    durations: Durations = "model"
    temperature: float = 0.7
    top_p: float = 0.8
    best_of: int = 4
    first_level: Literal["auto", "none", "drawn", "mean"] = "auto"
    other_levels: Literal["auto", "none", "best", "mean"] = "auto"
    longest_piece_s: float = 10.0
    pause_s: float = 0.7
    longest_voice_s: float = 4.0

    def __post_init__(self) -> None:
        for name in ("views", "beams", "hypotheses", "candidates", "best_of"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.neighbours < 0:
            raise InputError(f"neighbours must not be negative, got {self.neighbours}")
        if self.views > len(VIEWS):
            raise InputError(f"views: there are {len(VIEWS)}, not {self.views}")
        for name in ("longest_piece_s", "pause_s", "longest_voice_s"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be above 0, got {getattr(self, name):g}")
        if not 0 <= self.temperature < inf:
            raise InputError(f"temperature must be a number of at least 0, got {self.temperature:g}")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p must be above 0 and at most 1, got {self.top_p:g}")
        if self.first_level in ("none", "mean") and self.other_levels not in ("auto", "none"):
            raise InputError(
                f"other_levels {self.other_levels} are made for drawn codes: first_level cannot be {self.first_level}"
            )
        if self.longest_piece_s < 0.5:
            raise InputError(f"pieces of at most {self.longest_piece_s:g} s cannot be translated; 0.5 s is the least")
        if self.longest_voice_s < 0.5:
            raise InputError(f"a voice cannot be told from {self.longest_voice_s:g} s; 0.5 s is the least")
