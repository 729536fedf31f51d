"""Translated pieces, one after the other, with the pauses of the original between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from speechunits.audio import Samples, Waveform
from speechunits.segments import Segment

_FADE_S = 0.005  # a cut in the middle of a wave is heard as a click


@dataclass(frozen=True, eq=False, slots=True)
class Spoken:
    """A piece of the original and how it is said in the other language; None where nothing is."""

    segment: Segment
    waveform: Waveform | None


def join_pieces(pieces: Sequence[Spoken], rate_hz: int) -> Waveform | None:
    """Join pieces; the pause before each is the one that was before its original.

    What comes before the first and after the last piece of the original is left out.

    Args:
        pieces: in order; their waveforms have the rate `rate_hz`.
        rate_hz: samples per second.

    Returns:
        None when no piece is said.
    """
    parts = list(lay_pieces(pieces, rate_hz))
    return Waveform(np.concatenate(parts), rate_hz) if parts else None


def lay_pieces(pieces: Iterable[Spoken], rate_hz: int) -> Iterator[Samples]:
    """As `join_pieces`, but each piece, with the pause before it, as soon as it is there."""
    spoken_until_s: float | None = None
    for piece in pieces:
        if piece.waveform is None:
            continue  # its time becomes part of the pause
        pause_s = 0.0 if spoken_until_s is None else max(0.0, piece.segment.start_s - spoken_until_s)
        yield np.concatenate([np.zeros(round(pause_s * rate_hz), np.float32), _fade(piece.waveform)])
        spoken_until_s = piece.segment.stop_s


def _fade(waveform: Waveform) -> Samples:
    samples = waveform.samples.copy()
    count = min(round(_FADE_S * waveform.rate_hz), samples.size // 2)
    ramp = np.linspace(0.0, 1.0, count, dtype=np.float32)
    samples[:count] *= ramp
    samples[samples.size - count :] *= ramp[::-1]
    return samples
