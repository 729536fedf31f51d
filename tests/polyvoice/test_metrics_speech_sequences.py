"""Loops, unit edits and silence, with known answers."""

import numpy as np
import pytest

from polyvoice.evaluation.sequences import count_edits, is_empty, repetition_rate
from speechunits.audio import Waveform


def make(samples: np.ndarray, rate_hz: int = 16_000) -> Waveform:
    return Waveform(samples.astype(np.float32), rate_hz)


@pytest.mark.parametrize(
    ("sequence", "share"),
    [
        ([], 0.0),
        (list(range(100)), 0.0),
        ([7] * 20, 1.0),
        ([1, 2, 3] * 10, 1.0),
        # Twelve steps, then a loop of two units to the end.
        (list(range(100, 112)) + [4, 5] * 18, 36 / 48),
        # Said twice or three times is emphasis.
        (["no", "no", "no", "I", "mean", "yes"], 0.0),
        (["to", "exit", "or", "8"] + ["to", "6"] * 10, 20 / 24),
        # A loop in the middle covers itself alone; a block longer than 16 steps is not looked for.
        ([1, 2, 9, 9, 9, 9, 9, 9, 9, 9, 3, 4], 8 / 12),
        (list(range(17)) * 5, 0.0),
        (list(range(16)) * 4, 1.0),
    ],
)
def test_share_caught_in_loops(sequence: list[object], share: float) -> None:
    assert repetition_rate(sequence) == pytest.approx(share)


def test_unit_edits() -> None:
    units = (5, 3, 8, 3)
    assert count_edits(units, units) == 0
    assert count_edits((), units) == 4
    assert count_edits((5, 8, 3, 1), units) == 2


def test_what_counts_as_nothing_said() -> None:
    tone = 0.1 * np.sin(np.arange(16_000) * 0.1)
    assert is_empty(None)
    assert is_empty(make(np.zeros(16_000)))
    assert is_empty(make(0.0005 * np.ones(16_000)))  # -66 dBFS
    assert is_empty(make(tone[:1_500]))  # 0.09 s
    assert not is_empty(make(tone))
    # One word in a long silence is not silence.
    assert not is_empty(make(np.concatenate([np.zeros(160_000), tone[:1_600], np.zeros(160_000)])))
