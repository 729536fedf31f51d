"""Changes to the sound that leave its labels right: frequency response, noise, another speaker.

numpy and one FFT a crop: together they cost less than a twentieth of a training step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from speechunits.encoders.geometry import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from polyvoice.stages.encoder.settings import Augmentation
    from speechunits.audio import Samples

_EQUALIZER_POINTS = 8  # over the mel scale: about one for three critical bands
_SILENCE = 1e-8  # mean square, -80 dB: a ratio to less says nothing


def augment(crops: Samples, settings: Augmentation, generator: np.random.Generator) -> Samples:
    """Return changed copies of the crops of a batch.

    Args:
        crops: `[B, N]` at 16 kHz, each of another utterance.
        settings: how often and how much.
        generator: all chance.

    Returns:
        `[B, N]`.
    """
    changed = np.empty_like(crops)
    for row, crop in enumerate(crops):
        sound = equalize(crop, settings.equalizer_db, generator) if settings.equalizer_db else crop
        if len(crops) > 1 and generator.random() < settings.mix_probability:
            # Any row but this one.
            other = crops[(row + generator.integers(1, len(crops))) % len(crops)]
            sound = mix_utterance(sound, other, generator.uniform(*settings.mix_snr_db), generator)
        if generator.random() < settings.noise_probability:
            noise = coloured_noise(crop.size, generator)
            sound = sound + scale_to_ratio(noise, sound, generator.uniform(*settings.noise_snr_db))
        changed[row] = sound
    return changed


def equalize(sound: Samples, deviation_db: float, generator: np.random.Generator) -> Samples:
    """Return `[N]` through a smooth random frequency response, as another microphone or room would have.

    Args:
        sound: `[N]`.
        deviation_db: standard deviation of the gain at each of a few frequencies, evenly spaced on the mel scale.
        generator: all chance.
    """
    highest = _mel(np.array(SAMPLE_RATE_HZ / 2))
    points = np.linspace(0.0, highest, _EQUALIZER_POINTS)
    gains_db = generator.normal(0.0, deviation_db, _EQUALIZER_POINTS)
    spectrum = np.fft.rfft(sound)
    frequencies = _mel(np.linspace(0.0, SAMPLE_RATE_HZ / 2, spectrum.size))
    response = 10.0 ** (np.interp(frequencies, points, gains_db) / 20.0)
    return np.fft.irfft(spectrum * response, sound.size).astype(np.float32)


def mix_utterance(sound: Samples, other: Samples, ratio_db: float, generator: np.random.Generator) -> Samples:
    """Return `[N]` with a piece of `other` `[N]`, at most half as long, laid over a random place."""
    length = int(generator.integers(1, max(2, sound.size // 2)))
    start = int(generator.integers(0, sound.size - length + 1))
    piece = scale_to_ratio(other[:length], sound, ratio_db)
    mixed = sound.copy()
    mixed[start : start + length] += piece
    return mixed


def coloured_noise(samples: int, generator: np.random.Generator) -> Samples:
    """Return noise `[samples]` whose power falls by a random 0 to 6 dB an octave, from white to brown."""
    spectrum = np.fft.rfft(generator.standard_normal(samples, dtype=np.float32))
    slope = generator.uniform(0.0, 1.0)
    spectrum *= np.maximum(np.arange(spectrum.size), 1) ** -slope
    return np.fft.irfft(spectrum, samples).astype(np.float32)


def scale_to_ratio(added: Samples, sound: Samples, ratio_db: float) -> Samples:
    """Return `added` scaled so that `sound` has `ratio_db` times its power; nothing where either is silent."""
    power, added_power = float(np.mean(sound**2)), float(np.mean(added**2))
    if min(power, added_power) < _SILENCE:
        return np.zeros_like(added)
    return added * np.float32(np.sqrt(power / added_power * 10.0 ** (-ratio_db / 10.0)))


def _mel(frequency_hz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return 2595.0 * np.log10(1.0 + frequency_hz / 700.0)
