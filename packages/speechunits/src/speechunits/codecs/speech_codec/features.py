"""Spectra and log-mel spectra, for the encoder's input, the losses and the evaluation alike."""

import functools
import math

import torch
from torch import Tensor
from torch.nn import functional as F

# Below this a mel band counts as silent; -100 dB against a full-scale sine keeps the logarithm finite.
_FLOOR = 1e-5


def frame(samples: Tensor, window: int, hop: int) -> Tensor:
    """Cut `[B, N]` into overlapping frames `[B, N / hop, window]`, frame i centred on sample `hop * (i + 1/2)`.

    Hops are joined rather than windows gathered, because the gradient of a join is a plain sum.

    Args:
        samples: `[B, N]` with N a multiple of `hop`; zeros are put on both ends.
        window: samples of a frame, a multiple of `hop`.
        hop: samples between frames.
    """
    margin = (window - hop) // 2
    rows, count = samples.shape[0], samples.shape[1] // hop
    hops = F.pad(samples, (margin, window - hop - margin)).view(rows, -1, hop)  # [B, N / hop + window / hop - 1, hop]
    return torch.cat([hops[:, start : start + count] for start in range(window // hop)], dim=-1)


def overlap_add(frames: Tensor, hop: int) -> Tensor:
    """Add up frames `[B, T, window]` into samples `[B, T * hop]`; the adjoint of `frame`."""
    rows, count, window = frames.shape
    parts = window // hop
    margin = (window - hop) // 2
    hops = frames.view(rows, count, parts, hop)
    total = F.pad(hops[:, :, 0], (0, 0, 0, parts - 1))  # [B, T + parts - 1, hop]
    for part in range(1, parts):
        total = total + F.pad(hops[:, :, part], (0, 0, part, parts - 1 - part))
    return total.reshape(rows, -1)[:, margin : margin + count * hop]


def magnitudes(samples: Tensor, window: int, hop: int) -> Tensor:
    """Short-time magnitudes `[B, N / hop, window / 2 + 1]` of `[B, N]`, scaled so that noise keeps its level.

    Args:
        samples: `[B, N]` float32 with N a multiple of `hop`.
        window: samples of the Hann window, a multiple of `hop`.
        hop: samples between spectra.
    """
    shape = hann(window, samples.device)
    spectra: Tensor = torch.fft.rfft(frame(samples, window, hop) * (shape / math.sqrt(window)))
    return spectra.abs()


def log_mel(samples: Tensor, rate_hz: int, window: int, hop: int, bands: int) -> Tensor:
    """Natural logarithms of mel-band magnitudes, `[B, N / hop, bands]` of `[B, N]`; see `magnitudes`."""
    spectra = magnitudes(samples, window, hop)
    return (spectra @ mel_filters(rate_hz, window, bands, samples.device)).clamp(min=_FLOOR).log()


# Made outside of inference mode even when inference asks first: training may use the same tensor later.
@functools.cache
@torch.inference_mode(mode=False)
def hann(window: int, device: torch.device) -> Tensor:
    """The periodic Hann window `[window]`."""
    return torch.hann_window(window, device=device)


@functools.cache
@torch.inference_mode(mode=False)
def mel_filters(rate_hz: int, window: int, bands: int, device: torch.device) -> Tensor:
    """Triangles `[window / 2 + 1, bands]`, evenly spaced on O'Shaughnessy's mel scale from 0 Hz to half the rate.

    Each has height 1 at its centre, so that a band's value grows with its width and none vanishes in float16.
    """
    highest = 2595.0 * math.log10(1.0 + rate_hz / 2.0 / 700.0)
    mels = torch.linspace(0.0, highest, bands + 2, dtype=torch.float64)
    corners_hz = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    bins_hz = torch.linspace(0.0, rate_hz / 2.0, window // 2 + 1, dtype=torch.float64)[:, None]  # [bins, 1]
    rising = (bins_hz - corners_hz[:-2]) / (corners_hz[1:-1] - corners_hz[:-2])
    falling = (corners_hz[2:] - bins_hz) / (corners_hz[2:] - corners_hz[1:-1])
    return torch.minimum(rising, falling).clamp(min=0.0).float().to(device)
