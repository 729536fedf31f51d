"""Measures of speech as a sequence and as sound: unit error rate, loops, silence."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from speechunits.audio import Waveform

LONGEST_PERIOD = 16
"""The longest block, in units or words, whose repetition is looked for."""
LOOP_REPEATS = 4
"""How often a block has to follow on itself to be a loop."""
LOOP_STEPS = 8
"""A loop covers at least so many steps."""
SHORTEST_SPEECH_S = 0.1
SILENCE_DBFS = -60.0
_WINDOW_S = 0.02


def count_edits(output: Sequence[Hashable], reference: Sequence[Hashable]) -> int:
    """Insertions, deletions and substitutions that turn one sequence into the other."""
    from rapidfuzz.distance import Levenshtein

    return int(Levenshtein.distance(output, reference))


def repetition_rate(sequence: Sequence[Hashable]) -> float:
    """The share of a sequence that is caught in loops, 0 to 1.

    A step is in a loop when it lies in a block of 1 to `LONGEST_PERIOD` steps that follows on itself at least
    `LOOP_REPEATS` times in a row, over at least `LOOP_STEPS` steps. A language model that loops repeats to the end of
    its output; speech that says a word twice is left alone.

    Args:
        sequence: deduplicated units, or the words of a transcript.
    """
    steps = len(sequence)
    if steps == 0:
        return 0.0
    numbers: dict[Hashable, int] = {}
    ids = np.array([numbers.setdefault(step, len(numbers)) for step in sequence], dtype=np.int64)
    looped = np.zeros(steps, dtype=bool)
    for period in range(1, min(LONGEST_PERIOD, steps // LOOP_REPEATS) + 1):
        # A stretch of steps that equal the one a period before them is a block repeated; its first block counts too.
        same = np.concatenate([[False], ids[period:] == ids[:-period], [False]])
        edges = np.flatnonzero(np.diff(same.astype(np.int8)))
        for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            if stop - start + period >= max(LOOP_REPEATS * period, LOOP_STEPS):
                looped[start : stop + period] = True
    return float(looped.mean())


def is_empty(waveform: Waveform | None) -> bool:
    """Whether nothing was said: no sound, less than 0.1 s of it, or no 20 ms of it louder than -60 dBFS."""
    if waveform is None or waveform.duration_s < SHORTEST_SPEECH_S:
        return True
    window = max(1, round(_WINDOW_S * waveform.rate_hz))
    whole = waveform.samples[: waveform.samples.size // window * window].reshape(-1, window).astype(np.float64)
    loudest = float(np.square(whole).mean(axis=1).max())
    return loudest <= 10 ** (SILENCE_DBFS / 10)
