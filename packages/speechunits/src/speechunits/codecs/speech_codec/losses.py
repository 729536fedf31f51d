"""What the codec is trained for: log-mel spectra at five resolutions, and to fool discriminators."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from speechunits.codecs.speech_codec.features import log_mel

# Windows in samples and mel bands of each; short ones hear attacks, long ones harmonics.
_RESOLUTIONS = ((128, 10), (256, 20), (512, 40), (1024, 80), (2048, 160))
# Frames this far below a clip's loudest are left out of the distance: in digital silence logarithms mean nothing.
_AUDIBLE_NATS = 50.0 / 20.0 * 2.302585


def mel_loss(decoded: Tensor, original: Tensor, rate_hz: int) -> Tensor:
    """Mean absolute difference of log-mel spectra, averaged over five resolutions.

    Args:
        decoded: `[B, N]`, carries the gradient.
        original: `[B, N]`.
        rate_hz: samples per second.
    """
    total = decoded.new_zeros(())
    for window, bands in _RESOLUTIONS:
        hop = window // 4
        length = decoded.shape[1] // hop * hop
        with torch.no_grad():
            target = log_mel(original[:, :length], rate_hz, window, hop, bands)
        total = total + F.l1_loss(log_mel(decoded[:, :length], rate_hz, window, hop, bands), target)
    return total / len(_RESOLUTIONS)


def mel_distance(decoded: Tensor, original: Tensor, rate_hz: int) -> float:
    """Mean absolute difference of two clips' 80-band log-mel spectra in nats, over audible frames.

    Args:
        decoded: `[N]`.
        original: `[N]`.
        rate_hz: samples per second.
    """
    hop = 160
    length = original.numel() // hop * hop
    pair = torch.stack((decoded[:length], original[:length]))
    got, wanted = log_mel(pair, rate_hz, 640, hop, 80)  # each [T, 80]
    loudness = wanted.exp().square().sum(dim=1).log() / 2.0
    audible = loudness > loudness.max() - _AUDIBLE_NATS
    return float((got - wanted).abs()[audible].mean())


@dataclass(frozen=True)
class Judgement:
    """What discriminators say about a batch.

    Attributes:
        scores: of each discriminator, any shape; positive is real.
        features: of each discriminator, its layers' outputs.
    """

    scores: Sequence[Tensor]
    features: Sequence[Sequence[Tensor]]


def discriminator_loss(real: Judgement, decoded: Judgement) -> Tensor:
    """Hinge loss, averaged over discriminators."""
    losses = [
        F.relu(1.0 - real_score).mean() + F.relu(1.0 + decoded_score).mean()
        for real_score, decoded_score in zip(real.scores, decoded.scores, strict=True)
    ]
    return torch.stack(losses).mean()


def adversarial_loss(decoded: Judgement) -> Tensor:
    """Hinge loss of the codec, averaged over discriminators."""
    return torch.stack([F.relu(1.0 - score).mean() for score in decoded.scores]).mean()


def feature_loss(real: Judgement, decoded: Judgement) -> Tensor:
    """Distance of features relative to their size (EnCodec, arXiv 2210.13438, equation 3), averaged over layers."""
    losses = [
        _size(decoded_layer - real_layer.detach()) / _size(real_layer.detach()).clamp(min=1e-3)
        for real_layers, decoded_layers in zip(real.features, decoded.features, strict=True)
        for real_layer, decoded_layer in zip(real_layers, decoded_layers, strict=True)
    ]
    return torch.stack(losses).mean()


def heard_loss(decoded: Tensor, original: Tensor) -> Tensor:
    """Distance of an encoder's features `[B, T, D]` relative to how they vary over time.

    Args:
        decoded: of decoded speech, carries the gradient.
        original: of the original.
    """
    spread = original - original.mean(dim=1, keepdim=True)
    return _size(decoded - original) / _size(spread).clamp(min=1e-3)


def speaker_loss(decoded: Tensor, original: Tensor) -> Tensor:
    """Mean cosine distance of embeddings `[B, E]` of length 1.

    Args:
        decoded: of decoded speech, carries the gradient.
        original: of the original.
    """
    return 1.0 - (decoded * original).sum(dim=1).mean()


def _size(values: Tensor) -> Tensor:
    # Layers may be bfloat16, whose two to three digits are too few for a loss.
    return values.abs().mean(dtype=torch.float32)
