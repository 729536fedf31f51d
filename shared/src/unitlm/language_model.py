"""What decoding takes: a decoder in torch, or one that is packed for a CPU."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, TypeAlias

from unitlm.model import Decoder

if TYPE_CHECKING:
    from unitlm.engine.decoder import PackedDecoder

Precision = Literal["fp32", "bf16", "int8"]
"""Of packed weights: float32, its upper half, or 8-bit integers with a scale a row."""

LanguageModel: TypeAlias = "Decoder | PackedDecoder"


def pack_decoder(decoder: Decoder, precision: Precision = "int8") -> LanguageModel:
    """The fastest form of a decoder: packed, where it can be; elsewhere the decoder itself.

    Args:
        decoder: In evaluation mode.
        precision: Of the packed weights: `fp32`, `bf16` or `int8`. On a trained model of captions (7.6 M parameters) 8
            bits moved the mean log-probability of held-out tokens by 0.0003 nats and the most probable token of 0.9 %
            of the steps, bf16 by 0.0002 nats and 0.3 %.

    Returns:
        The decoder as it is, if it is on an accelerator, is not causal or has stages, or without numba.
    """
    config = decoder.config
    on_cpu = decoder.embedding.weight.device.type == "cpu"
    if not config.causal or config.stages or not on_cpu or find_spec("numba") is None:
        return decoder
    from unitlm.engine.decoder import PackedDecoder  # compiled code is loaded only where it is used

    return PackedDecoder(decoder, precision)
