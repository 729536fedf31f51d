"""Views of a recording: versions that say the same, so that it can be heard several times.

Units of one utterance differ a little with where its first frame begins and with pitch and rate, and much of what is
misheard is misheard in some views only (test-time augmentation).
"""

from __future__ import annotations

import numpy as np

from polyvoice.pipeline.settings import VIEWS
from speechunits.audio import Waveform, change_speed


def views_of(waveform: Waveform, count: int) -> list[Waveform]:
    """The first `count` of `VIEWS`; the first one is the recording itself."""
    return [_delay(change_speed(waveform, view.speed), view.delay_s) for view in VIEWS[:count]]


def _delay(waveform: Waveform, delay_s: float) -> Waveform:
    silence = np.zeros(round(delay_s * waveform.rate_hz), np.float32)
    return Waveform(np.concatenate((silence, waveform.samples)), waveform.rate_hz) if silence.size else waveform
