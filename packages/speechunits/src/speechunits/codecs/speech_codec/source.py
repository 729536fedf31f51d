"""Where a voice's sound begins: pulses at its pitch, and noise; a decoder with a source only filters the two.

Harmonics in phase over a second, and the rough breath between them, are what spectra made from nothing lack longest. A
source has both from the first step (harmonic plus noise: NSF, arXiv 1904.12088, section 2; DDSP, arXiv 2001.04643,
section 3; under an inverse Fourier transform: HiFTNet, arXiv 2309.09493). The pitch is foretold from what the
decoder knows; in training the true one makes the pulses.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechunits.codecs.speech_codec.features import frame, hann
from speechunits.codecs.speech_codec.layers import ConvNeXtBlock
from speechunits.codecs.speech_codec.settings import CodecSettings

LOWEST_HZ = 50.0
HIGHEST_HZ = 600.0
# Of a pitch between low and high voices, for inputs and outputs around 0.
MIDDLE = math.log(170.0)
# Which of it a frame hears depends on the frame's place alone, so that decoding is reproducible.
NOISE_SAMPLES = 65_536


@dataclass(frozen=True, eq=False)
class Pitch:
    """The pitch of a batch at every spectrum.

    Attributes:
        log_hz: natural logarithm of the fundamental frequency, `[B, S]`; in between where nothing is voiced.
        voiced: 1 where a voice sounds, else 0, `[B, S]`; when foretold, the logarithm of the odds.
    """

    log_hz: Tensor
    voiced: Tensor

    def to(self, device: torch.device) -> "Pitch":
        """The same on a device."""
        return Pitch(self.log_hz.to(device), self.voiced.to(device))

    @torch.no_grad()
    def decided(self, mask: Tensor | None) -> "Pitch":
        """Of a foretold pitch, what pulses may follow: smooth, within bounds, voiced where that is more probable.

        Args:
            mask: true frames `[B, S]`.
        """
        weight = self.voiced.sigmoid() if mask is None else self.voiced.sigmoid() * mask
        log_hz = _smooth(self.log_hz * weight) / _smooth(weight).clamp(min=1e-6)
        log_hz = log_hz.clamp(math.log(LOWEST_HZ), math.log(HIGHEST_HZ))
        return Pitch(log_hz, (self.voiced > 0.0).to(log_hz.dtype))


def _smooth(values: Tensor) -> Tensor:
    """Weighted sums `[B, S]` of what is around each frame of `[B, S]`."""
    # A pitch that is foretold frame by frame trembles, which sounds hoarse: five frames together do not.
    shape = torch.hann_window(7, periodic=False, device=values.device)[1:-1]
    return F.conv1d(values[:, None], shape[None, None], padding=2)[:, 0]


class Source(nn.Module):
    """Foretells the pitch from a decoder's hidden frames, and makes spectra of pulses and noise."""

    noise: Tensor

    def __init__(self, settings: CodecSettings) -> None:
        super().__init__()
        self._settings = settings
        width = settings.decoder_width
        self.block = ConvNeXtBlock(width, settings.expansion, 1.0)
        self.norm = nn.LayerNorm(width)
        self.end = nn.Linear(width, 2)
        self.inform = nn.Linear(2, width)
        noise = np.random.default_rng(0).standard_normal(NOISE_SAMPLES, dtype=np.float32)
        self.register_buffer("noise", torch.from_numpy(noise), persistent=False)

    def foretell(self, hidden: Tensor, mask: Tensor | None) -> Pitch:
        """The pitch of hidden frames `[B, S, W]`; `voiced` has the logarithms of odds."""
        values = self.end(self.norm(self.block(hidden, mask))).float()
        return Pitch(MIDDLE + values[..., 0], values[..., 1])

    def tell(self, pitch: Pitch) -> Tensor:
        """What is added to hidden frames, `[B, S, W]`, so that filters fit the pitch."""
        known = torch.stack(((pitch.log_hz - MIDDLE) * pitch.voiced, pitch.voiced), dim=-1)
        return self.inform(known)  # type: ignore[no-any-return]

    @torch.no_grad()
    def forward(self, pitch: Pitch, mask: Tensor | None, noise_from: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return spectra of pulses and of noise, each `[B, S, bins]` complex, both about 1 in size.

        Args:
            pitch: decided.
            mask: true frames `[B, S]`.
            noise_from: where in the noise each row begins, `[B]`; None: all at its beginning.
        """
        hop, rows, count = self._settings.hop, *pitch.log_hz.shape
        pulses = _pulses(pitch, mask, hop, self._settings.sample_rate_hz)
        places = torch.arange(count * hop, device=pulses.device).expand(rows, -1)
        if noise_from is not None:
            places = places + noise_from[:, None]
        noise = self.noise[places % NOISE_SAMPLES]
        if mask is not None:
            # Behind its end a row is silent, as it is alone.
            true = mask.repeat_interleave(hop, dim=1)
            pulses, noise = pulses * true, noise * true
        window = self._settings.window
        shape = hann(window, pulses.device) / math.sqrt(window)
        both = torch.fft.rfft(frame(torch.cat((pulses, noise)), window, hop) * shape)
        return both[:rows], both[rows:]


def _pulses(pitch: Pitch, mask: Tensor | None, hop: int, rate_hz: int) -> Tensor:
    """All harmonics of the pitch below half the rate, in phase, `[B, S * hop]`; as loud in each band as noise of 1."""
    log_hz, voiced = pitch.log_hz.float(), pitch.voiced.float()
    if mask is not None:
        # A row's last frame lasts, as it does without others beside it.
        ends = mask.sum(1, keepdim=True).clamp(min=1) - 1
        places = torch.arange(mask.shape[1], device=mask.device).minimum(ends)
        log_hz, voiced = log_hz.gather(1, places), voiced.gather(1, places)
    samples = F.interpolate(torch.stack((log_hz, voiced), 1), scale_factor=hop, mode="linear")  # [B, 2, S * hop]
    hz, loud = samples[:, 0].exp(), samples[:, 1]
    # In cycles, and in double precision: a harmonic multiplies what is lost.
    cycles = (hz.double() / rate_hz).cumsum(dim=1)
    angle = 2.0 * math.pi * (cycles - cycles.round()).float()  # [-pi, pi]
    harmonics = (rate_hz / 2.0 / hz).floor()
    half = (angle / 2.0).sin()
    # Dirichlet's kernel: the sum of cosines 1 to H at once.
    total = 0.5 * (((harmonics + 0.5) * angle).sin() / torch.where(half.abs() < 1e-5, 1.0, half) - 1.0)
    total = torch.where(half.abs() < 1e-5, harmonics, total)
    return loud * total * (4.0 * hz / rate_hz).sqrt()


def pitch_loss(foretold: Pitch, true: Pitch) -> Tensor:
    """How far a foretold pitch is off, in octaves and nats: where a voice sounds, and of whether it does."""
    sounds = true.voiced
    off = ((foretold.log_hz - true.log_hz).abs() * sounds).sum() / sounds.sum().clamp(min=1.0) / math.log(2.0)
    return off + F.binary_cross_entropy_with_logits(foretold.voiced, true.voiced)
