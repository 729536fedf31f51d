"""Layers of encoder and decoder; sequences are `[B, T, D]` throughout."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_KERNEL = 7


class TimeConv(nn.Module):
    """A convolution over time of `[B, T, D]`, with zeros around."""

    def __init__(self, width: int, out_width: int, groups: int = 1) -> None:
        super().__init__()
        self._groups = groups
        convolution = nn.Conv1d(width, out_width, _KERNEL, groups=groups)  # for its initial values
        self.weight, self.bias = convolution.weight, convolution.bias

    def forward(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """Return `[B, T, out]`; masked frames count as zeros."""
        if mask is not None:
            hidden = hidden * mask[..., None]
        # As an image one pixel high whose channels come last, there is nothing to transpose: half the time of conv1d.
        image = hidden[:, None].permute(0, 3, 1, 2)  # [B, D, 1, T]
        padding = (0, _KERNEL // 2)
        result = F.conv2d(image, self.weight[:, :, None], self.bias, padding=padding, groups=self._groups)
        return result.permute(0, 2, 3, 1)[:, 0]


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, then a position-wise network, added to the input (arXiv 2201.03545, as in Vocos)."""

    def __init__(self, width: int, expansion: int, scale: float) -> None:
        super().__init__()
        self.mix = TimeConv(width, width, groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, expansion * width)
        self.narrow = nn.Linear(expansion * width, width)
        # ConvNeXt's learned scale, folded into the weights it would scale: as a factor it costs 5 % of a step.
        with torch.no_grad():
            self.narrow.weight.mul_(scale)
            self.narrow.bias.mul_(scale)

    def forward(self, hidden: Tensor, mask: Tensor | None, style: Tensor | None = None) -> Tensor:
        """Return `[B, T, D]` of the same shape.

        Args:
            hidden: `[B, T, D]`.
            mask: true frames `[B, T]`; None when all are.
            style: `[B, 1, 2 D]`, what is added to the scales of the normalised frames, 1, and to their offsets, 0.
        """
        normed = self.norm(self.mix(hidden, mask))
        if style is not None:
            scale, offset = style.chunk(2, dim=-1)
            normed = torch.addcmul(normed + offset, normed, scale)
        return hidden + self.narrow(F.gelu(self.widen(normed)))  # type: ignore[no-any-return]
