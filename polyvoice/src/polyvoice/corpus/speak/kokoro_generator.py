"""Kokoro's generator with PyTorch's 8-bit convolutions: the whole model takes half of onnxruntime's processor time.

As in the ONNX file, weights are 8-bit integers, and so is what goes into each convolution, scaled by its own least and
greatest value. onnxruntime copies a window for each frame (im2col); oneDNN's kernels do without, and tensors stay in
its order, channels last.
"""

from __future__ import annotations

from dataclasses import dataclass
from platform import machine
from typing import TYPE_CHECKING, Protocol

import torch
from torch.nn import functional

from polyvoice.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import numpy.typing as npt

    from polyvoice.corpus.speak.kokoro_parts import GeneratorWeights, StageWeights, StepWeights

# oneDNN compiles kernels for each length, 0.1 s in all: lengths are made up to multiples of 0.3 s, at the two stages'
# frame rates. Its cache has room for about fifty lengths. Both can be divided by the dilations, 3 and 5.
_TILES = (240, 1_440)
_ROWS = 512  # of at most 256 channels: they stay in the second-level cache
_EPSILON = 1e-5
_FFT = 20
_HOP = 5
# The ONNX file does not divide by the sum of the squared windows, which is 1.5 at this hop: both engines are as loud.
_LOUDNESS = 1.5


def check_convolutions() -> None:
    """Ask for oneDNN's 8-bit convolutions.

    Raises:
        InputError: This PyTorch, or this processor, does not have them, or its sums overflow: without VNNI, oneDNN adds
            pairs of products in 16 bits, which are too few for these weights.
    """
    if machine() not in ("x86_64", "AMD64") or not hasattr(torch.ops.onednn, "qconv_pointwise"):
        raise InputError("--engine torch needs PyTorch 2.7 or later with oneDNN, on x86-64; use --engine onnx")
    if not torch.cpu._is_vnni_supported():
        raise InputError("--engine torch needs a processor with VNNI, for exact 8-bit products; use --engine onnx")


class Generator:
    """Gives samples for features, the source and a style; see `split_model`."""

    def __init__(self, weights: GeneratorWeights) -> None:
        self._stages = [_Stage(stage, tile) for stage, tile in zip(weights.stages, _TILES, strict=True)]
        self._last = torch.from_numpy(weights.last)
        self._last_bias = torch.from_numpy(weights.last_bias)

    @torch.inference_mode()
    def __call__(
        self,
        features: npt.NDArray[np.float32],
        sources: Sequence[npt.NDArray[np.float32]],
        style: npt.NDArray[np.float32],
    ) -> npt.NDArray[np.float32]:
        """Make the samples.

        Args:
            features: `[1, 512, F]`, 80 a second.
            sources: `[1, 256, 10 * F]` and `[1, 128, 60 * F + 1]`.
            style: `[1, 128]`, the first half of a voice's style.

        Returns:
            `[300 * F]`, 24,000 a second.
        """
        x, heard, *own = (torch.from_numpy(array) for array in (features, style, *sources))
        x = run_stages(self._stages, x, own, heard)
        return to_samples(functional.conv1d(functional.leaky_relu(x, 0.01), self._last, self._last_bias, padding=3))


class Stage(Protocol):
    """One of the two, in whatever numbers it computes."""

    def raise_rate(self, x: torch.Tensor) -> torch.Tensor:
        """Features at the next frame rate."""
        ...

    def refine(self, x: torch.Tensor, source: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        """Features with the source and the style in them."""
        ...


def run_stages(
    stages: Sequence[Stage], x: torch.Tensor, sources: Sequence[torch.Tensor], style: torch.Tensor
) -> torch.Tensor:
    """Take features, sources and style (see `Generator`) through both stages."""
    for number, (stage, source) in enumerate(zip(stages, sources, strict=True)):
        raised = stage.raise_rate(functional.leaky_relu(x, 0.1))
        if number == 1:
            raised = functional.pad(raised, (1, 0), mode="reflect")  # the short-time spectrum has one frame more
        x = stage.refine(raised, source, style)
    return x


def to_samples(last: torch.Tensor) -> npt.NDArray[np.float32]:
    """Make `[300 * F]` samples of the last convolution's output `[1, 22, 60 * F + 1]`, on any device."""
    magnitudes, phases = last.chunk(2, dim=1)  # [1, 11, 60 * F + 1] each
    spectrum = torch.polar(magnitudes.exp(), phases.sin())
    samples = torch.istft(spectrum, _FFT, _HOP, window=torch.hann_window(_FFT, device=last.device))
    return samples[0].mul_(_LOUDNESS).cpu().numpy()


class _Stage:
    def __init__(self, weights: StageWeights, tile: int) -> None:
        self._rise = torch.from_numpy(weights.rise)
        self._rise_bias = torch.from_numpy(weights.rise_bias)
        self._source = [Step(step, tile) for step in weights.source]
        self._blocks = [[Step(step, tile) for step in block] for block in weights.blocks]

    def raise_rate(self, x: torch.Tensor) -> torch.Tensor:
        stride = self._rise.shape[2] // 2
        return functional.conv_transpose1d(x, self._rise, self._rise_bias, stride, stride // 2)

    def refine(self, x: torch.Tensor, source: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        frames = x[0].T + run_block(source[0].T.contiguous(), self._source, style)  # [T, C]
        frames = frames.contiguous()
        outputs = [run_block(frames, block, style) for block in self._blocks]
        mean = outputs[0].add_(outputs[1]).add_(outputs[2]).div_(len(outputs))
        return mean.T[None].contiguous()  # [1, C, T]


def run_block(
    x: torch.Tensor, steps: Sequence[Callable[[torch.Tensor, torch.Tensor], torch.Tensor]], style: torch.Tensor
) -> torch.Tensor:
    """Take the steps of a residual block two by two, and add what went in each time."""
    for first, second in zip(steps[::2], steps[1::2], strict=True):
        x = second(first(x, style), style).add_(x)
    return x


@dataclass(frozen=True, slots=True)
class Quantized:
    """Frames of 8 bits: `scale * (values - zero_point)`.

    Attributes:
        values: uint8 `[T', C]`: full tiles, of which what is behind the frames stands for zero.
        frames: T.
        scale: The value of a step.
        zero_point: What stands for zero.
    """

    values: torch.Tensor
    frames: int
    scale: float
    zero_point: int


class Step:
    """One step of a residual block, `[T, C]` to `[T, C]` (see `StepWeights`).

    Args:
        weights: Its weights.
        tile: The convolution's lengths are multiples of this many frames.
    """

    def __init__(self, weights: StepWeights, tile: int) -> None:
        self._style = torch.from_numpy(weights.style)
        self._style_bias = torch.from_numpy(weights.style_bias)
        self._twice_alpha = 2 * torch.from_numpy(weights.alpha)
        self._inverse = 1 / self._twice_alpha
        self._tile = tile
        self._dilation = weights.dilation
        channels, _, width = weights.kernel.shape
        self._geometry = [1, 1], [0, width // 2], [1, 1], 1  # stride, padding, dilation, groups
        self._bias = torch.from_numpy(weights.bias)
        self._scales = torch.full((channels,), weights.scale)
        self._zero_points = torch.zeros(channels, dtype=torch.int64)
        kernel = torch.from_numpy(weights.kernel)[:, :, None]  # [C, C, 1, width]
        shape = [1, channels, 1, tile]
        self._kernel = torch.ops.onednn.qconv_prepack(kernel, self._scales, 1.0, 0, *self._geometry, shape)

    def __call__(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        """Frames `[T, C]` and a style `[1, 128]` to new frames `[T, C]`."""
        return self.convolve(self.activate(x, style))

    def activate(self, x: torch.Tensor, style: torch.Tensor) -> Quantized:
        """Normalize, scale by style, and `y + sin(alpha * y) ** 2 / alpha`; frames are added up to full tiles."""
        gains, shifts = (style @ self._style + self._style_bias)[0].chunk(2)
        # sin(a y)^2 / a = (1 - cos(2 a y)) / 2 a, so 2 a y is made at once. Of one utterance, the normalization of a
        # batch is that of an instance, and its kernel wants channels last.
        y = functional.batch_norm(
            x[None, None].permute(0, 3, 1, 2),
            None,
            None,
            self._twice_alpha * (1 + gains),
            self._twice_alpha * shifts,
            training=True,
            eps=_EPSILON,
        )[0, :, 0].T  # [T, C]
        lowest = highest = 0.0
        for rows in torch.split(y, _ROWS):
            torch.addcmul(self._inverse, rows.sub_(torch.cos(rows)), self._inverse, out=rows)
            low, high = rows.aminmax()
            lowest, highest = min(lowest, float(low)), max(highest, float(high))
        return self._quantize(y, lowest, highest)

    def _quantize(self, y: torch.Tensor, lowest: float, highest: float) -> Quantized:
        # 254 steps, not 255, leave room for the zero point's own rounding; the least range keeps the scale positive.
        scale = max(highest - lowest, 1e-6) / 254
        zero_point = round(-lowest / scale)
        values = torch.full((-(-len(y) // self._tile) * self._tile, y.shape[1]), zero_point, dtype=torch.uint8)
        for start in range(0, len(y), _ROWS):
            # Through 16 bits: straight to 8, the conversion is not vectorized and takes three times as long.
            rows = y[start : start + _ROWS].mul_(1 / scale).add_(zero_point + 0.5)
            values[start : start + len(rows)] = rows.to(torch.int16)
        return Quantized(values, len(y), scale, zero_point)

    def convolve(self, x: Quantized) -> torch.Tensor:
        """Frames `[T, C]` to the convolution's output `[T, C]`, in float32."""
        # oneDNN is up to twice as slow with dilated kernels: every third frame, or fifth, is a row of its own instead.
        rows = (
            x.values.reshape(-1, self._dilation, x.values.shape[1]).transpose(0, 1).contiguous()
        )  # [dilation, T' / dilation, C]
        outputs: torch.Tensor = torch.ops.onednn.qconv_pointwise(
            rows[:, None].permute(0, 3, 1, 2),  # [dilation, C, 1, T' / dilation], channels last
            x.scale,
            x.zero_point,
            self._kernel,
            self._scales,
            self._zero_points,
            self._bias,
            *self._geometry,
            1.0,
            0,
            torch.float32,
            "none",
            [],
            "",
        )
        return outputs[:, :, 0].permute(2, 0, 1).flatten(0, 1)[: x.frames]
