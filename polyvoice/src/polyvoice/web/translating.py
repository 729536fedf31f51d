"""From a recording to the page of its translation; knows nothing of the program that shows the page."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from polyvoice.errors import InputError
from polyvoice.evaluation.rows import UnitRuns
from polyvoice.pipeline.whole import put_together
from polyvoice.provenance import synthetic_tag
from polyvoice.samples.rendering import render_page
from polyvoice.samples.speeches import Speech, view_speech
from polyvoice.samples.views import name_language
from polyvoice.serving.uploads import read_upload

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from polyvoice.pipeline.translator import Piece, SpeechTranslator
    from polyvoice.serving.settings import Limits

_STAGES = {
    "cut": "where there is speech",
    "voice": "whose voice it is",
    "encode": "speech to units",
    "translate": "units to units, or by way of text",
    "duration": "how long each lasts",
    "synthesize": "units to codes",
    "decode": "codes to speech",
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks of the page.

    Attributes:
        recording: file of what was recorded or uploaded.
        source: language that is spoken.
        target: language to translate into.
        voice: file of a recording of the voice that shall speak; None for the speaker's own.
        seed: of all draws.
    """

    recording: Path
    source: str
    target: str
    voice: Path | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class StageView:
    """A line of the table of times; `percent` is its share of the whole."""

    name: str
    meaning: str
    seconds: str
    percent: str


@dataclass(frozen=True, slots=True)
class PieceView:
    """A line of the table of pieces."""

    place: str
    units: str
    confidence: str
    ended: bool


def translate_for_page(
    translator: SpeechTranslator, wish: Wish, limits: Limits, progress: Callable[[float], None]
) -> str:
    """Translate, and show both sides with their spectrograms and units, and how long each stage took.

    Args:
        translator: with its bundle.
        wish: what to translate.
        limits: of length and time.
        progress: told after each piece which share of the recording is done.

    Returns:
        An HTML page that holds everything itself.

    Raises:
        InputError: the recording cannot be translated, in one line for people; so do the other packages' errors.
    """
    began = time.monotonic()
    recording = read_upload(wish.recording, limits.longest_recording_s)
    voice = None
    if wish.voice is not None:
        voice = translator.hear_voice(read_upload(wish.voice, limits.longest_recording_s), wish.source)

    def tell(piece: Piece) -> None:
        progress(min(1.0, piece.segment.stop_s / recording.duration_s))
        if time.monotonic() - began > limits.request_timeout_s:
            raise InputError(f"the translation took longer than {limits.request_timeout_s:g} s")

    pieces = translator.pieces(recording, wish.source, wish.target, seed=wish.seed, voice=voice)
    whole = put_together(pieces, translator.rate_hz, tell)
    if not whole.pieces:
        raise InputError("no speech was heard in the recording")
    spoken, first_audio_s = whole.waveform, whole.first_audio_s
    total_s = sum(whole.seconds.values())
    longest_s = max(recording.duration_s, spoken.duration_s if spoken else 0.0)
    source = Speech(
        role="source",
        title=name_language(wish.source),
        waveform=recording,
        units=UnitRuns.of(whole.heard),
        lines=(("understood", whole.text_heard),) if whole.text_heard else (),
    )
    output = Speech(
        role="output",
        title=name_language(wish.target),
        waveform=spoken,
        units=UnitRuns.of(whole.said),
        lines=(("meant", whole.text_said),) if whole.text_said else (),
        comment=synthetic_tag(),
    )
    return render_page(
        "translation.html.j2",
        {
            "speeches": [view_speech(speech, longest_s, _as_url) for speech in (source, output)],
            "download": f"translation.{wish.target}.flac",
            "tag": synthetic_tag(),
            "facts": [
                ("to the first sound", "" if first_audio_s is None else f"{first_audio_s:.2f} s"),
                ("computing", f"{total_s:.2f} s"),
                ("a second of speech", f"{total_s / recording.duration_s:.2f} s"),
            ],
            "stages": [
                StageView(name, _STAGES[name], f"{seconds:.3f}", f"{100 * seconds / max(total_s, 1e-9):.1f}")
                for name, seconds in whole.seconds.items()
            ],
            "pieces": [_view_piece(piece) for piece in whole.pieces],
        },
    )


def show_problem(error: ValueError) -> str:
    """A page that says why there is no translation."""
    return render_page("problem.html.j2", {"problem": " ".join(str(error).split())})


def _view_piece(piece: Piece) -> PieceView:
    said = piece.translation
    # Of each unit: a sum over a sentence says more of its length than of the model's doubt.
    each = said.units_log_probability / max(1, said.units.size)
    return PieceView(
        place=f"{piece.segment.start_s:.1f} \u2013 {piece.segment.stop_s:.1f} s",
        units=f"{len(piece.source)} \u2192 {len(piece.runs)}",
        confidence=f"{np.exp(each):.2f}",
        ended=said.ended,
    )


def _as_url(end: str, content: bytes) -> str:
    kind = "audio/flac" if end == ".flac" else "image/png"
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
