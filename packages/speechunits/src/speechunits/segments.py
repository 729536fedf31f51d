"""Where speech is, and where a long recording can be cut: in its pauses."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from speechunits.audio import Samples, Waveform
from speechunits.errors import InputError
from speechunits.voice_activity import FRAME_SAMPLES, SAMPLE_RATE_HZ, Probabilities, detect_speech

_FRAME_S = FRAME_SAMPLES / SAMPLE_RATE_HZ
_HOP_S = 0.01  # between measurements of loudness
_QUIET_S = 0.05  # how long a place must be quiet to be the quietest: one pitch period of a low voice is 0.015 s


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a recording, in seconds from its start; it stops before `stop_s`."""

    start_s: float
    stop_s: float

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.stop_s - self.start_s


@dataclass(frozen=True)
class SpeechRules:
    """When frames are speech; the defaults are silero-vad's own.

    Attributes:
        threshold: probability from which speech begins. It ends below 0.15 less.
        shortest_speech_s: what is not longer is no speech.
        shortest_pause_s: what is shorter is no pause.
        margin_s: added on both sides of speech, as far as there is room.

    Raises:
        InputError: a value is out of range.
    """

    threshold: float = 0.5
    shortest_speech_s: float = 0.25
    shortest_pause_s: float = 0.1
    margin_s: float = 0.03

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise InputError(f"the threshold of speech lies between 0 and 1, not at {self.threshold:g}")
        if min(self.shortest_speech_s, self.shortest_pause_s, self.margin_s) < 0:
            raise InputError("lengths of speech, pauses and margins are not negative")


def find_speech(waveform: Waveform, rules: SpeechRules | None = None) -> tuple[Segment, ...]:
    """Return the stretches of speech in order, none of which touch; silence has none.

    Raises:
        InputError: silero-vad is not installed.
    """
    return join_frames(detect_speech(waveform), waveform.duration_s, rules or SpeechRules())


def find_sound(
    waveform: Waveform, *, below_db: float = 32.0, shortest_pause_s: float = 0.15, shortest_s: float = 0.1
) -> tuple[Segment, ...]:
    """Return the stretches of a clean recording that are not silent, in order: pauses inside sentences, too.

    Loudness alone tells them, so that the shortest pauses are found which a detector of speech passes over, and so
    that noise counts as sound.

    Args:
        waveform: the recording.
        below_db: what is so much less loud than its loud places (its 95th percentile) is silent.
        shortest_pause_s: shorter silence belongs to the sound around it.
        shortest_s: shorter sound, such as a click, belongs to the silence.
    """
    hop = round(_HOP_S * waveform.rate_hz)
    count = waveform.samples.size // hop
    if not count:
        return ()
    power = np.square(waveform.samples[: count * hop], dtype=np.float64).reshape(count, hop).mean(axis=1)
    level_db = np.convolve(10 * np.log10(power + 1e-10), np.full(3, 1 / 3), "same")
    loud = np.flatnonzero(level_db > np.percentile(level_db, 95) - below_db)
    if not loud.size:
        return ()
    breaks = np.flatnonzero(np.diff(loud) > shortest_pause_s / _HOP_S)
    starts, stops = loud[np.concatenate(([0], breaks + 1))], loud[np.concatenate((breaks, [-1]))] + 1
    found = (Segment(float(start * _HOP_S), float(stop * _HOP_S)) for start, stop in zip(starts, stops, strict=True))
    return tuple(segment for segment in found if segment.duration_s >= shortest_s)


def join_frames(probabilities: Probabilities, duration_s: float, rules: SpeechRules) -> tuple[Segment, ...]:
    """Make stretches of speech out of the probabilities of frames, by silero-vad's rules.

    Args:
        probabilities: of speech, one for each 32 ms, `[T]`.
        duration_s: length of the recording.
        rules: what counts as speech.
    """
    found: list[Segment] = []
    start_s = pause_s = None  # of the speech at hand, and of the pause that may end it
    for frame, probability in enumerate(probabilities):
        now_s = frame * _FRAME_S
        if probability >= rules.threshold:
            pause_s = None
            start_s = now_s if start_s is None else start_s
        elif start_s is not None and probability < max(rules.threshold - 0.15, 0.01):
            pause_s = now_s if pause_s is None else pause_s
            if now_s - pause_s >= rules.shortest_pause_s:
                found.append(Segment(start_s, pause_s))
                start_s = pause_s = None
    if start_s is not None:
        found.append(Segment(start_s, duration_s))
    return _add_margins([s for s in found if s.duration_s > rules.shortest_speech_s], duration_s, rules.margin_s)


def cut_at_pauses(
    waveform: Waveform, *, longest_s: float = 20.0, pause_s: float = 1.0, rules: SpeechRules | None = None
) -> tuple[Segment, ...]:
    """Cut a recording into pieces that can be handled one by one.

    The pieces cover all speech, in order, without overlap; what lies between them is pauses. A piece above `longest_s`
    is cut at its longest pause, and its parts again. Speech without any pause is cut where it is quietest, in the
    second half of what fits.

    Args:
        waveform: the recording; silence gives no pieces.
        longest_s: no piece is longer.
        pause_s: pauses from this length on are always between pieces, however short these are.
        rules: what counts as speech.

    Raises:
        InputError: `longest_s` is below 0.2, `pause_s` is not positive, or silero-vad is not installed.
    """
    if longest_s < 4 * _QUIET_S:
        raise InputError(f"pieces of at most {longest_s:g} s are too short; {4 * _QUIET_S:g} s is the least")
    if pause_s <= 0:
        raise InputError(f"the length of a pause is positive, not {pause_s:g} s")
    pieces: list[Segment] = []
    # A stack instead of recursion: the parts of what is on top come next, the earlier one first.
    waiting: list[tuple[Segment, ...]] = [find_speech(waveform, rules)]
    while waiting:
        speech = waiting.pop()
        if len(speech) > 1:
            pauses_s = [after.start_s - before.stop_s for before, after in pairwise(speech)]
            cut = int(np.argmax(pauses_s))
            if pauses_s[cut] >= pause_s or speech[-1].stop_s - speech[0].start_s > longest_s:
                waiting += [speech[cut + 1 :], speech[: cut + 1]]
            else:
                pieces.append(Segment(speech[0].start_s, speech[-1].stop_s))
        elif speech:
            pieces += _cut_where_quiet(waveform, speech[0], longest_s)
    return tuple(pieces)


def cut_out(waveform: Waveform, segment: Segment) -> Waveform:
    """The samples of a stretch of a recording; what of it lies behind the recording's end is not there."""
    start, stop = (round(second * waveform.rate_hz) for second in (segment.start_s, segment.stop_s))
    return Waveform(waveform.samples[start:stop], waveform.rate_hz)


def _add_margins(speech: Sequence[Segment], duration_s: float, margin_s: float) -> tuple[Segment, ...]:
    """Widen each stretch by the margin, or by half of the pause where that is less, within the recording."""
    stops = [0.0, *(segment.stop_s for segment in speech)]
    starts = [*(segment.start_s for segment in speech), duration_s]
    # The ends of a recording have no neighbour to share with.
    room = [gap if position in (0, len(speech)) else gap / 2 for position, gap in enumerate(np.subtract(starts, stops))]
    margins = np.minimum(room, margin_s)
    return tuple(
        Segment(float(segment.start_s - before), float(segment.stop_s + after))
        for segment, before, after in zip(speech, margins[:-1], margins[1:], strict=True)
    )


def _cut_where_quiet(waveform: Waveform, speech: Segment, longest_s: float) -> list[Segment]:
    pieces = []
    start_s = speech.start_s
    while speech.stop_s - start_s > longest_s:
        # Not beyond what leaves room for the rest to be more than a snippet.
        latest_s = min(start_s + longest_s, speech.stop_s - _QUIET_S)
        cut_s = _quietest(waveform, start_s + longest_s / 2, latest_s)
        pieces.append(Segment(start_s, cut_s))
        start_s = cut_s
    return [*pieces, Segment(start_s, speech.stop_s)]


def _quietest(waveform: Waveform, from_s: float, to_s: float) -> float:
    """Return the middle of the stretch with the least energy between two times."""
    first = round(from_s * waveform.rate_hz)
    samples: Samples = waveform.samples[first : round(to_s * waveform.rate_hz)]
    width = max(1, round(_QUIET_S * waveform.rate_hz))
    energy = np.concatenate(([0.0], np.cumsum(np.square(samples, dtype=np.float64))))
    quietest = int(np.argmin(energy[width:] - energy[:-width]))
    return (first + quietest + width // 2) / waveform.rate_hz
