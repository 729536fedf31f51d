"""Discriminators: on spectra of three resolutions, and on samples folded by five periods.

The first are UnivNet's (arXiv 2106.07889, section 2.3), the second HiFi-GAN's (arXiv 2010.05646, section 2.3), both
much narrower; frequencies are thinned out from layer to layer, which makes them cheap.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from speechunits.codecs.speech_codec.features import magnitudes
from speechunits.codecs.speech_codec.losses import Judgement

_WINDOWS = (256, 512, 1024)
_PERIODS = (2, 3, 5, 7, 11)
_SLOPE = 0.1
# Neighbours that enter the first layer as channels: a convolution of one channel takes longer than one of four.
_GROUP = 4
# Both scalings bring inputs to a spread of about 1. In 120 steps against a fixed, half-trained codec, they took the
# hinge loss from 2 to 1.2, plain magnitudes and samples only to 1.6. The floor, 60 dB below loud speech, keeps what
# nobody hears from telling real and decoded sound apart.
_FLOOR = 1e-3
_GAIN = 10.0


class Discriminators(nn.Module):
    """All of them as one module."""

    def __init__(self, width: int) -> None:
        """Make them.

        Args:
            width: channels of the spectral discriminators; those on periods have half as many, and widen.
        """
        super().__init__()
        spectral = [_SpectrumDiscriminator(window, width) for window in _WINDOWS]
        periodic = [_PeriodDiscriminator(period, max(1, width // 2)) for period in _PERIODS]
        self.members = nn.ModuleList([*spectral, *periodic])

    def forward(self, samples: Tensor) -> Judgement:
        """Judge waveforms `[B, N]`."""
        features = [member(samples) for member in self.members]
        return Judgement([layers[-1].float() for layers in features], [layers[:-1] for layers in features])


class _SpectrumDiscriminator(nn.Module):
    def __init__(self, window: int, width: int) -> None:
        super().__init__()
        self._window = window
        first = weight_norm(nn.Conv2d(_GROUP, width, 3, padding=1))
        others = [weight_norm(nn.Conv2d(width, width, (3, 7), stride=(1, 2), padding=(1, 3))) for _ in range(3)]
        self.layers = nn.ModuleList([first, *others])
        self.score = weight_norm(nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, samples: Tensor) -> list[Tensor]:
        hop = self._window // 4
        length = samples.shape[1] // hop * hop
        spectra = magnitudes(samples[:, :length], self._window, hop)[..., :-1]  # without the highest bin
        levels = 1.0 + 0.5 * (spectra + _FLOOR).log()
        grouped = levels.reshape(*levels.shape[:2], -1, _GROUP).permute(0, 3, 1, 2)  # [B, group, T, bins / group]
        return _run(self.layers, self.score, grouped)


class _PeriodDiscriminator(nn.Module):
    def __init__(self, period: int, width: int) -> None:
        super().__init__()
        self._period = period
        first = weight_norm(nn.Conv2d(_GROUP, width, (3, 1), padding=(1, 0)))
        others = [
            weight_norm(nn.Conv2d(channels, wider, (5, 1), stride=(3, 1), padding=(2, 0)))
            for channels, wider in ((width, 2 * width), (2 * width, 4 * width), (4 * width, 4 * width))
        ]
        self.layers = nn.ModuleList([first, *others])
        self.score = weight_norm(nn.Conv2d(4 * width, 1, (3, 1), padding=(1, 0)))

    def forward(self, samples: Tensor) -> list[Tensor]:
        span = _GROUP * self._period
        length = samples.shape[1] // span * span
        folded = _GAIN * samples[:, :length].reshape(samples.shape[0], -1, _GROUP, self._period)
        return _run(self.layers, self.score, folded.transpose(1, 2))  # [B, group, N / span, period]


def _run(layers: nn.ModuleList, score: nn.Module, hidden: Tensor) -> list[Tensor]:
    """The output of every layer, the score last."""
    outputs = []
    for layer in layers:
        hidden = F.leaky_relu(layer(hidden), _SLOPE)
        outputs.append(hidden)
    return [*outputs, score(hidden)]


def make_discriminators(width: int, seed: int) -> Discriminators:
    """Make discriminators whose first weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Discriminators(width)
