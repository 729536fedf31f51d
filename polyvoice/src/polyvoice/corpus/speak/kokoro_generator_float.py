"""Kokoro's generator in floating point, for a GPU: the ONNX file's 8-bit weights, but nothing else is rounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from polyvoice.corpus.speak.kokoro_generator import run_block, run_stages, to_samples

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from polyvoice.corpus.speak.kokoro_parts import GeneratorWeights, StageWeights, StepWeights

_EPSILON = 1e-5


class FloatGenerator:
    """Gives samples for features, the source and a style; see `split_model`.

    Args:
        weights: The generator's weights.
        device: Where it computes, such as `cuda`.
    """

    def __init__(self, weights: GeneratorWeights, device: str) -> None:
        self._device = torch.device(device)
        torch.set_float32_matmul_precision("high")  # the weights have 8 bits, TF32 has 11
        self._stages = [_Stage(stage, self._device) for stage in weights.stages]
        self._last = torch.from_numpy(weights.last).to(self._device)
        self._last_bias = torch.from_numpy(weights.last_bias).to(self._device)

    @torch.inference_mode()
    def __call__(
        self,
        features: npt.NDArray[np.float32],
        sources: Sequence[npt.NDArray[np.float32]],
        style: npt.NDArray[np.float32],
    ) -> npt.NDArray[np.float32]:
        """Make the samples (arguments and result: see `kokoro_generator.Generator`)."""
        # cuDNN would plan every convolution anew for every length, which takes longer than computing it.
        with torch.backends.cudnn.flags(enabled=False):
            return to_samples(self._convolve(features, sources, style))

    def _convolve(
        self,
        features: npt.NDArray[np.float32],
        sources: Sequence[npt.NDArray[np.float32]],
        style: npt.NDArray[np.float32],
    ) -> torch.Tensor:
        x, heard, *own = (torch.from_numpy(array).to(self._device) for array in (features, style, *sources))
        x = run_stages(self._stages, x, own, heard)
        return functional.conv1d(functional.leaky_relu(x, 0.01), self._last, self._last_bias, padding=3)


class _Stage:
    def __init__(self, weights: StageWeights, device: torch.device) -> None:
        self._rise = torch.from_numpy(weights.rise).to(device)
        self._rise_bias = torch.from_numpy(weights.rise_bias).to(device)
        self._source = [_Step(step, device) for step in weights.source]
        self._blocks = [[_Step(step, device) for step in block] for block in weights.blocks]

    def raise_rate(self, x: torch.Tensor) -> torch.Tensor:
        stride = self._rise.shape[2] // 2
        return functional.conv_transpose1d(x, self._rise, self._rise_bias, stride, stride // 2)

    def refine(self, x: torch.Tensor, source: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        x = x + run_block(source, self._source, style)
        return torch.stack([run_block(x, block, style) for block in self._blocks]).mean(dim=0)


class _Step:
    """One step of a residual block, `[1, C, T]` to `[1, C, T]` (see `StepWeights`)."""

    def __init__(self, weights: StepWeights, device: torch.device) -> None:
        self._style = torch.from_numpy(weights.style).to(device)
        self._style_bias = torch.from_numpy(weights.style_bias).to(device)
        self._alpha = torch.from_numpy(weights.alpha).to(device)[:, None]
        self._kernel = torch.from_numpy(weights.kernel).to(device).float() * weights.scale
        self._bias = torch.from_numpy(weights.bias).to(device)
        self._dilation = weights.dilation

    def __call__(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        gains, shifts = (style @ self._style + self._style_bias)[0].chunk(2)
        y = functional.instance_norm(x, weight=1 + gains, bias=shifts, eps=_EPSILON)
        y = y + torch.sin(self._alpha * y).square() / self._alpha
        padding = self._dilation * (self._kernel.shape[2] // 2)
        return functional.conv1d(y, self._kernel, self._bias, padding=padding, dilation=self._dilation)
