"""From speech and its units to a player with its pictures, wherever a page keeps its sounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from polyvoice.provenance import encode_speech
from polyvoice.samples.pictures import draw_spectrogram, draw_units
from polyvoice.samples.views import SpeechView, write_runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from polyvoice.evaluation.rows import UnitRuns
    from speechunits.audio import Waveform


@dataclass(frozen=True, slots=True)
class Speech:
    """What becomes a `SpeechView` once its sound and pictures have a place.

    Attributes:
        role: source, reference or output.
        title: what it is, with its language.
        waveform: the sound; None when nothing was said.
        units: the units; None when they are not known.
        lines: what is said in it, with who says so.
        heard: what recognisers hear in it, where that is said in passing only.
        comment: what the sound's file says of itself.
    """

    role: str
    title: str
    waveform: Waveform | None
    units: UnitRuns | None
    lines: tuple[tuple[str, str], ...]
    heard: tuple[tuple[str, str], ...] = ()
    comment: str = ""


def view_speech(speech: Speech, longest_s: float, place: Callable[[str, bytes], str]) -> SpeechView:
    """Make the sound and the pictures of one player.

    Args:
        speech: what is heard and shown.
        longest_s: length of the longest speech beside it.
        place: puts a file where the page finds it; gets the end of its name (`.flac`, `.png`, `-units.png`) and its
            content, and gives its address.
    """
    audio = spectrogram = strip = ""
    duration_s = 0.0
    if speech.waveform is not None:
        duration_s = speech.waveform.duration_s
        audio = place(".flac", encode_speech(speech.waveform, "flac", speech.comment))
        spectrogram = place(".png", draw_spectrogram(speech.waveform))
        if speech.units is not None and speech.units.units:
            strip = place("-units.png", draw_units(speech.units.expand().tolist()))
    return SpeechView(
        role=speech.role,
        title=speech.title,
        audio=audio,
        spectrogram=spectrogram,
        strip=strip,
        units=write_runs(speech.units),
        duration=f"{duration_s:.1f} s" if audio else "nothing said",
        percent=f"{100 * duration_s / longest_s:.2f}",
        lines=speech.lines,
        heard=speech.heard,
    )
