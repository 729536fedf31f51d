"""What rooms, microphones and telephones do to speech, so that a model trained on clean speech hears real people.

Each function is pure: waveform and numbers in, waveform out, at the same rate. `augment` draws the numbers.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from polyvoice.errors import InputError
from speechunits.audio import Samples, Waveform, change_speed

if TYPE_CHECKING:
    import numpy.typing as npt

    from polyvoice.corpus.augmentation import Augmentation

TELEPHONE_BAND_HZ = (300.0, 3_400.0)
"""What a telephone of ITU-T G.712 passes."""

_EDGE = 0.1  # width of a band's slopes, as a part of the edge's frequency
_FIRST_REFLECTION_S = 0.005
_WINDOW_S = 0.04  # holds two periods of a low voice


def augment(waveform: Waveform, settings: Augmentation, seed: int, key: str) -> Waveform:
    """Change an utterance as it may sound in reality; the same seed and key give the same samples.

    Args:
        waveform: Clean speech.
        settings: What may happen to it.
        seed: Another seed, other numbers.
        key: Names the utterance, such as the id of its row.
    """
    digest = hashlib.sha256(f"{seed}\0{key}".encode()).digest()
    generator = np.random.default_rng(int.from_bytes(digest[:16], "big"))
    # Everything is drawn whether it is used or not, so that one share does not move the other numbers.
    speed = generator.uniform(*settings.speed)
    semitones, is_shifted = generator.uniform(*settings.semitones), generator.random() < settings.pitch_share
    decay_s, is_in_room = generator.uniform(*settings.decay_s), generator.random() < settings.room_share
    snr_db, is_noisy = generator.uniform(*settings.snr_db), generator.random() < settings.noise_share
    colour, is_by_telephone = generator.uniform(0, 2), generator.random() < settings.telephone_share
    gain_db = generator.uniform(*settings.gain_db)
    waveform = change_speed(waveform, speed)
    if is_shifted:
        waveform = shift_pitch(waveform, semitones)
    if is_in_room:
        waveform = add_room(waveform, decay_s, generator)
    if is_noisy:
        waveform = add_noise(waveform, snr_db, colour, generator)
    if is_by_telephone:
        waveform = limit_band(waveform, *TELEPHONE_BAND_HZ)
    return change_gain(waveform, gain_db)


def shift_pitch(waveform: Waveform, semitones: float) -> Waveform:
    """Raise the pitch, formants along with it; the length stays."""
    factor = 2 ** (semitones / 12)
    raised = change_speed(_stretch(waveform, factor), factor)
    return Waveform(_fit(raised.samples, waveform.samples.size), waveform.rate_hz)


def add_noise(waveform: Waveform, snr_db: float, colour: float, generator: np.random.Generator) -> Waveform:
    """Add steady noise.

    Args:
        waveform: The speech.
        snr_db: Energy of the speech over that of the noise, both over the whole utterance.
        colour: The noise's power falls as `1 / frequency ** colour`: 0 is white, 1 pink, 2 brown.
        generator: For the noise.
    """
    count = waveform.samples.size
    spectrum = np.fft.rfft(generator.standard_normal(count))
    frequencies = np.fft.rfftfreq(count, 1 / waveform.rate_hz)
    # Below 20 Hz nothing is heard, and brown noise would have most of its energy there.
    spectrum *= np.maximum(frequencies, 20.0) ** (-colour / 2) * (frequencies >= 20.0)
    noise = np.fft.irfft(spectrum, count)
    energy = float(np.square(noise).sum())
    if energy == 0:  # shorter than one period of 20 Hz
        return waveform
    wanted = float(np.square(waveform.samples, dtype=np.float64).sum()) / 10 ** (snr_db / 10)
    return _unclipped(waveform.samples + noise * np.sqrt(wanted / energy), waveform.rate_hz)


def add_room(
    waveform: Waveform, decay_s: float, generator: np.random.Generator, direct_to_reverberant_db: float = 3.0
) -> Waveform:
    """Hear speech in a room: direct sound, and reflections as noise that decays exponentially (Polack's model).

    Length and loudness stay; the direct sound keeps its place in time, so that frames still fit.

    Args:
        waveform: The speech.
        decay_s: Time in which reflections fall by 60 dB (RT60).
        generator: For the reflections.
        direct_to_reverberant_db: Energy of the direct sound over that of all reflections.

    Raises:
        InputError: The decay is not positive.
    """
    if decay_s <= 0:
        raise InputError(f"a decay is positive, not {decay_s:g} s")
    count = max(2, round(decay_s * waveform.rate_hz))
    times_s = np.arange(count) / waveform.rate_hz
    response = generator.standard_normal(count) * 10 ** (-3 * times_s / decay_s)
    response[times_s < _FIRST_REFLECTION_S] = 0
    energy = float(np.square(response).sum())
    if energy > 0:
        response *= np.sqrt(10 ** (-direct_to_reverberant_db / 10) / energy)
    response[0] = 1
    size = waveform.samples.size + count - 1
    heard = np.fft.irfft(np.fft.rfft(waveform.samples, size) * np.fft.rfft(response, size), size)
    heard = heard[: waveform.samples.size]
    loudness = np.sqrt(np.square(heard).mean())
    if loudness > 0:
        heard *= np.sqrt(np.square(waveform.samples, dtype=np.float64).mean()) / loudness
    return _unclipped(heard, waveform.rate_hz)


def limit_band(waveform: Waveform, low_hz: float, high_hz: float) -> Waveform:
    """Keep the frequencies between two edges, with slopes of a tenth of each edge's frequency outside of them."""
    spectrum = np.fft.rfft(waveform.samples)
    frequencies = np.fft.rfftfreq(waveform.samples.size, 1 / waveform.rate_hz)
    rise = np.clip((frequencies - low_hz * (1 - _EDGE)) / (low_hz * _EDGE), 0, 1)
    fall = np.clip((high_hz * (1 + _EDGE) - frequencies) / (high_hz * _EDGE), 0, 1)
    gains = np.sin(np.pi / 2 * rise) ** 2 * np.sin(np.pi / 2 * fall) ** 2
    return _unclipped(np.fft.irfft(spectrum * gains, waveform.samples.size), waveform.rate_hz)


def change_gain(waveform: Waveform, gain_db: float) -> Waveform:
    """Make speech louder or softer, but never so loud that it clips."""
    return _unclipped(waveform.samples * 10 ** (gain_db / 20), waveform.rate_hz)


def _unclipped(samples: npt.NDArray[np.floating], rate_hz: int) -> Waveform:
    # Scaled rather than cut: clipping would be a distortion of its own.
    loudest = float(np.abs(samples).max())
    return Waveform((samples / max(1.0, loudest)).astype(np.float32), rate_hz)


def _stretch(waveform: Waveform, factor: float) -> Waveform:
    """Make speech `factor` times as long at the same pitch, by WSOLA (Verhelst and Roelands, 1993).

    Windows of 40 ms are laid side by side, each from where the sound goes on most like the window before.
    """
    hop = round(_WINDOW_S / 2 * waveform.rate_hz)
    size, reach = 2 * hop, hop // 2
    count = round(waveform.samples.size * factor)
    window = np.hanning(size + 1)[:-1]  # two of them, half overlapping, add up to one
    # In front half a window, so that the first one is whole; behind, what the last may reach for.
    sound = np.pad(waveform.samples.astype(np.float64), (hop + reach, 2 * size + reach))
    total = np.zeros(count + 2 * size)
    at = reach
    for start in range(0, count + hop, hop):
        wanted = min(round(start / factor), waveform.samples.size + hop) + reach
        following = sound[at + hop : at + hop + size]
        region = sound[wanted - reach : wanted + reach + size]
        if start:
            at = wanted - reach + int(np.correlate(region, following, "valid").argmax())
        total[start : start + size] += sound[at : at + size] * window
    return Waveform(total[hop : hop + count].astype(np.float32), waveform.rate_hz)


def _fit(samples: Samples, size: int) -> Samples:
    return np.pad(samples, (0, max(0, size - samples.size)))[:size]
