"""CAM++: a speaker encoder of 7 million values (arXiv 2303.00332), as 3D-Speaker publishes it.

Kaldi's log-mel spectra go through a small two-dimensional network and densely connected time-delay layers, each of
which is masked by what its context says; mean and spread over time make the embedding. Modules bear the names of the
published weights.
"""

import functools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MEL_BANDS = 80
EMBEDDING_WIDTH = 192

_RATE_HZ = 16_000
_WINDOW, _HOP, _TRANSFORM = 400, 160, 512
_LOWEST_HZ = 20.0
_EMPHASIS = 0.97
# Blocks of the time-delay network: layers, and frames between the taps of each.
_BLOCKS = ((12, 1), (24, 2), (16, 2))
_HEAD_WIDTH, _FIRST_WIDTH, _GROWTH, _BOTTLENECK = 32, 128, 32, 128
# Frames that share a context, beside that of the whole.
_SEGMENT = 100


class CamPlusPlus(nn.Module):
    """Spectra `[B, T, 80]` of `log_mel_of_kaldi` to embeddings `[B, 192]`."""

    def __init__(self) -> None:
        super().__init__()
        self.head = _Head()
        width = _FIRST_WIDTH
        parts: dict[str, nn.Module] = {"tdnn": _Delay(_HEAD_WIDTH * MEL_BANDS // 8, width)}
        for number, (layers, dilation) in enumerate(_BLOCKS, start=1):
            parts[f"block{number}"] = _DenseBlock(width, layers, dilation)
            width += layers * _GROWTH
            parts[f"transit{number}"] = _Transit(width)
            width //= 2
        parts["out_nonlinear"] = _norm_relu(width)
        parts["dense"] = _Embedding(2 * width)
        self.xvector = nn.ModuleDict(parts)

    def forward(self, spectra: Tensor) -> Tensor:
        """Return embeddings `[B, 192]`, not normalised."""
        hidden = self.head(spectra.transpose(1, 2))  # [B, C, T]
        for part in self.xvector.values():
            hidden = part(hidden)
        return hidden  # type: ignore[no-any-return]


class _Head(nn.Module):
    """Two-dimensional convolutions that keep time and narrow frequency to an eighth."""

    def __init__(self) -> None:
        super().__init__()
        width = _HEAD_WIDTH
        self.conv1, self.bn1 = _conv2d(1, width), nn.BatchNorm2d(width)
        self.layer1 = nn.Sequential(_Residual(width, 2), _Residual(width, 1))
        self.layer2 = nn.Sequential(_Residual(width, 2), _Residual(width, 1))
        self.conv2, self.bn2 = _conv2d(width, width, 2), nn.BatchNorm2d(width)

    def forward(self, spectra: Tensor) -> Tensor:
        hidden = F.relu(self.bn1(self.conv1(spectra[:, None])))
        hidden = self.layer2(self.layer1(hidden))
        return F.relu(self.bn2(self.conv2(hidden))).flatten(1, 2)


class _Residual(nn.Module):
    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv2d(width, width, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv2d(width, width), nn.BatchNorm2d(width)
        narrowed = nn.Sequential(nn.Conv2d(width, width, 1, (stride, 1), bias=False), nn.BatchNorm2d(width))
        self.shortcut = narrowed if stride > 1 else nn.Sequential()

    def forward(self, hidden: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(hidden)))))
        return F.relu(inner + self.shortcut(hidden))


class _Delay(nn.Module):
    """The first layer in time: half as many frames from here on."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(width_in, width, 5, stride=2, padding=2, bias=False)
        self.nonlinear = _norm_relu(width)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.nonlinear(self.linear(hidden))  # type: ignore[no-any-return]


class _DenseBlock(nn.ModuleDict):
    """Layers each of which hears all before it."""

    def __init__(self, width: int, layers: int, dilation: int) -> None:
        super().__init__(
            {f"tdnnd{number + 1}": _DenseLayer(width + number * _GROWTH, dilation) for number in range(layers)}
        )

    def forward(self, hidden: Tensor) -> Tensor:
        for layer in self.values():
            hidden = torch.cat((hidden, layer(hidden)), dim=1)
        return hidden


class _DenseLayer(nn.Module):
    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.nonlinear1, self.linear1 = _norm_relu(width), nn.Conv1d(width, _BOTTLENECK, 1, bias=False)
        self.nonlinear2, self.cam_layer = _norm_relu(_BOTTLENECK), _MaskedByContext(dilation)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.cam_layer(self.nonlinear2(self.linear1(self.nonlinear1(hidden))))  # type: ignore[no-any-return]


class _MaskedByContext(nn.Module):
    """A convolution whose channels are let through as far as the context asks for."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.linear_local = nn.Conv1d(_BOTTLENECK, _GROWTH, 3, padding=dilation, dilation=dilation, bias=False)
        self.linear1 = nn.Conv1d(_BOTTLENECK, _BOTTLENECK // 2, 1)
        self.linear2 = nn.Conv1d(_BOTTLENECK // 2, _GROWTH, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        near = F.avg_pool1d(hidden, _SEGMENT, _SEGMENT, ceil_mode=True)
        near = near.repeat_interleave(_SEGMENT, dim=2)[..., : hidden.shape[2]]
        mask = self.linear2(F.relu(self.linear1(hidden.mean(dim=2, keepdim=True) + near))).sigmoid()
        return self.linear_local(hidden) * mask  # type: ignore[no-any-return]


class _Transit(nn.Module):
    """Half as many channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.nonlinear, self.linear = _norm_relu(width), nn.Conv1d(width, width // 2, 1, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.linear(self.nonlinear(hidden))  # type: ignore[no-any-return]


class _Embedding(nn.Module):
    """Mean and spread over time to the embedding."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(width, EMBEDDING_WIDTH, 1, bias=False)
        self.nonlinear = nn.ModuleDict({"batchnorm": nn.BatchNorm1d(EMBEDDING_WIDTH, affine=False)})

    def forward(self, hidden: Tensor) -> Tensor:
        both = torch.cat((hidden.mean(dim=2), hidden.std(dim=2)), dim=1)
        return self.nonlinear["batchnorm"](self.linear(both[..., None])[..., 0])  # type: ignore[no-any-return]


def _norm_relu(width: int) -> nn.Sequential:
    layers = nn.Sequential()
    layers.add_module("batchnorm", nn.BatchNorm1d(width))
    layers.add_module("relu", nn.ReLU())
    return layers


def _conv2d(width_in: int, width: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(width_in, width, 3, (stride, 1), 1, bias=False)


def log_mel_of_kaldi(samples: Tensor) -> Tensor:
    """Kaldi's log-mel energies of `[B, N]` at 16 kHz, `[B, T, 80]`, their mean over time taken away.

    What `torchaudio.compliance.kaldi.fbank` makes without dither, of a batch at once.
    """
    frames = samples.float().unfold(1, _WINDOW, _HOP)  # [B, T, 400]
    frames = frames - frames.mean(dim=2, keepdim=True)
    before = torch.cat((frames[..., :1], frames[..., :-1]), dim=2)
    shape = torch.hann_window(_WINDOW, periodic=False, device=samples.device).pow(0.85)
    energies = torch.fft.rfft((frames - _EMPHASIS * before) * shape, n=_TRANSFORM).abs().square()
    spectra: Tensor = (energies @ _mel_triangles(samples.device)).clamp(min=torch.finfo(torch.float32).eps).log()
    return spectra - spectra.mean(dim=1, keepdim=True)


# Made outside of inference mode even when inference asks first, as the codec's filters are: training may follow.
@functools.cache
@torch.inference_mode(mode=False)
def _mel_triangles(device: torch.device) -> Tensor:
    """Kaldi's filters `[257, 80]`: triangles on the mel scale itself."""
    lowest, highest = _mel(_LOWEST_HZ), _mel(_RATE_HZ / 2.0)
    corners = torch.linspace(lowest, highest, MEL_BANDS + 2, dtype=torch.float64)
    bins = torch.arange(_TRANSFORM // 2 + 1, dtype=torch.float64) * _RATE_HZ / _TRANSFORM
    mels = (1.0 + bins / 700.0).log()[:, None] * 1127.0
    rising = (mels - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - mels) / (corners[2:] - corners[1:-1])
    return torch.minimum(rising, falling).clamp(min=0.0).float().to(device)


def _mel(hz: float) -> float:
    return 1127.0 * math.log(1.0 + hz / 700.0)
