"""The translated pieces of a recording, put together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from polyvoice.pipeline.join import Spoken, join_pieces
from polyvoice.pipeline.timing import Stopwatch
from speechunits.runs import Runs

if TYPE_CHECKING:
    from polyvoice.pipeline.translator import Piece
    from speechunits.audio import Waveform


@dataclass(frozen=True, eq=False, slots=True)
class Whole:
    """A translated recording.

    Attributes:
        pieces: in order; none where nobody spoke.
        waveform: the speech, with the pauses of the original between pieces; None where nothing is said.
        seconds: compute seconds of each stage, of all pieces.
        first_audio_s: seconds from the start to the first sound; None where there is none.
    """

    pieces: tuple[Piece, ...]
    waveform: Waveform | None
    seconds: dict[str, float]
    first_audio_s: float | None

    @property
    def heard(self) -> Runs:
        """Units of the recording, and their lengths."""
        return _join(piece.source for piece in self.pieces)

    @property
    def said(self) -> Runs:
        """Units of the translation, and their lengths."""
        return _join(piece.runs for piece in self.pieces)

    @property
    def text_heard(self) -> str | None:
        """What was understood; None where no piece went by way of text."""
        return _join_texts(piece.translation.text_heard for piece in self.pieces)

    @property
    def text_said(self) -> str | None:
        """What is said; None where no piece went by way of text."""
        return _join_texts(piece.translation.text_said for piece in self.pieces)


def put_together(pieces: Iterable[Piece], rate_hz: int, tell: Callable[[Piece], None] | None = None) -> Whole:
    """Take pieces as they come, and join them.

    Args:
        pieces: of one recording, in order.
        rate_hz: sample rate of what is said.
        tell: told of each as soon as it is there.
    """
    began, watch = time.perf_counter(), Stopwatch()
    first_audio_s: float | None = None
    done: list[Piece] = []
    for piece in pieces:
        if first_audio_s is None and piece.waveform is not None:
            first_audio_s = time.perf_counter() - began
        watch.add(piece.seconds)
        done.append(piece)
        if tell is not None:
            tell(piece)
    spoken = join_pieces([Spoken(piece.segment, piece.waveform) for piece in done], rate_hz)
    return Whole(tuple(done), spoken, watch.seconds, first_audio_s)


def _join(runs: Iterable[Runs]) -> Runs:
    parts = list(runs)
    nothing = np.empty(0, np.int64)
    return Runs(
        np.concatenate([nothing, *(part.units for part in parts)]),
        np.concatenate([nothing, *(part.lengths for part in parts)]),
    )


def _join_texts(texts: Iterable[str | None]) -> str | None:
    known = [text for text in texts if text is not None]
    return " ".join(known) if known else None
