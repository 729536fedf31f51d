"""The true pitch of recordings, for training: SwiftF0 (arXiv 2508.18440), a small network inside its package."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from speechunits.audio import Waveform, resample
from speechunits.codecs.speech_codec.source import HIGHEST_HZ, LOWEST_HZ, MIDDLE
from speechunits.errors import InputError

if TYPE_CHECKING:
    from swift_f0 import SwiftF0

RATE_HZ = 16_000
_VOICED = 0.5

Track = npt.NDArray[np.float32]


def follow_pitch(waveform: Waveform, frame_rate_hz: float, frames: int) -> Track:
    """Follow the pitch of a recording.

    Args:
        waveform: the recording.
        frame_rate_hz: frames per second; frame i is centred i + 1/2 of them after the beginning.
        frames: F, how many.

    Returns:
        `[2, F]`: natural logarithms of the fundamental frequency in Hz, in between where nothing is voiced; and 1
        where something is, else 0.
    """
    samples = resample(waveform, RATE_HZ).samples
    found = _network().detect(samples, RATE_HZ, fmin=LOWEST_HZ, fmax=HIGHEST_HZ)
    times = (np.arange(frames) + 0.5) / frame_rate_hz
    sounds = found.confidence >= _VOICED
    if not sounds.any():
        return np.stack((np.full(frames, MIDDLE), np.zeros(frames))).astype(np.float32)
    log_hz = np.interp(times, found.timestamps[sounds], np.log(found.pitch_hz[sounds]))
    between = (found.timestamps[1:] + found.timestamps[:-1]) / 2.0
    return np.stack((log_hz, sounds[np.searchsorted(between, times)])).astype(np.float32)


@functools.cache
def _network() -> SwiftF0:
    try:
        from swift_f0 import SwiftF0
    except ImportError as error:
        raise InputError(
            "a decoder learns its source from the pitch of speech: pip install 'speechunits[pitch]'"
        ) from error
    # It is asked from threads that read ahead; a spinning pool of its own would take the cores from training.
    return SwiftF0(threads=1, spin=False)
