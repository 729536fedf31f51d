"""Speech to look at: spectrograms, and units as strips of colour, as small PNG files."""

from __future__ import annotations

import colorsys
import io
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from speechunits.audio import resample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from speechunits.audio import Waveform

_RATE_HZ = 16_000
_WINDOW = 512  # 32 ms
_HOP = 256  # 16 ms
_BANDS = 72
_MOST_COLUMNS = 900
_RANGE_DB = 70.0
# Dark to bright through even steps of lightness, so that loud is bright also to the colour-blind.
_ANCHORS = ((13, 14, 32), (58, 28, 92), (137, 39, 104), (214, 72, 75), (247, 147, 68), (253, 226, 158))
_GOLDEN = 0.618034


def draw_spectrogram(waveform: Waveform) -> bytes:
    """A mel spectrogram as PNG: time from left to right, 0 to 8 kHz upwards, 70 dB from black to bright."""
    power = _mel_power(resample(waveform, _RATE_HZ).samples)  # [bands, T]
    power = _shrink(power, _MOST_COLUMNS)
    level = 10 * np.log10(power + 1e-12)
    # Digital silence stays dark instead of being stretched to the full range.
    top = max(float(level.max()), -40.0)
    pixels = np.clip((level - top) / _RANGE_DB + 1, 0, 1) * 255
    return _write_png(pixels[::-1].astype(np.uint8), _palette())


def draw_units(units: Sequence[int]) -> bytes:
    """One pixel a frame, one colour a unit, as PNG of height 1; equal units have equal colours on every picture.

    Args:
        units: one unit a frame, `[T]`, at least one.
    """
    return _write_png(np.array([[_colour(unit) for unit in units]], dtype=np.uint8), None)


def _mel_power(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    padded = np.pad(samples, (_WINDOW // 2, _WINDOW))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[: samples.size : _HOP]  # [T, window]
    spectrum = np.fft.rfft(frames * np.hanning(_WINDOW), axis=1)
    power: NDArray[np.float64] = _filters() @ np.square(np.abs(spectrum)).T / _WINDOW
    return power


@cache
def _filters() -> NDArray[np.float64]:
    """Triangles that are even on the mel scale, `[bands, bins]`."""
    mels = np.linspace(0, 2595 * np.log10(1 + _RATE_HZ / 2 / 700), _BANDS + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    bins = np.fft.rfftfreq(_WINDOW, 1 / _RATE_HZ)
    # The lowest bands are narrower than a bin; at least as wide as one, none of them stays empty.
    width = np.maximum(np.diff(edges), bins[1])
    rising = 1 - (edges[1:-1, None] - bins) / width[:-1, None]
    falling = 1 - (bins - edges[1:-1, None]) / width[1:, None]
    filters = np.clip(np.minimum(rising, falling), 0, None)
    normalized: NDArray[np.float64] = filters / filters.sum(axis=1, keepdims=True)
    return normalized


def _shrink(power: NDArray[np.float64], columns: int) -> NDArray[np.float64]:
    step = -(-power.shape[1] // columns)
    starts = np.arange(0, power.shape[1], step)
    shrunk: NDArray[np.float64] = np.maximum.reduceat(power, starts, axis=1)
    return shrunk


@cache
def _palette() -> bytes:
    places = np.linspace(0, 1, len(_ANCHORS))
    channels = [np.interp(np.linspace(0, 1, 256), places, channel) for channel in zip(*_ANCHORS, strict=True)]
    return np.stack(channels, axis=1).round().astype(np.uint8).tobytes()


@cache
def _colour(unit: int) -> tuple[int, int, int]:
    # Steps of the golden ratio keep neighbouring numbers far apart in hue; the rest tells apart what is alike.
    red, green, blue = colorsys.hls_to_rgb(unit * _GOLDEN % 1, 0.45 + 0.1 * (unit % 3), 0.5 + 0.15 * (unit % 2))
    return round(red * 255), round(green * 255), round(blue * 255)


def _write_png(pixels: NDArray[np.uint8], palette: bytes | None) -> bytes:
    from PIL import Image

    image = Image.fromarray(pixels)
    if palette is not None:
        image.putpalette(palette)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
