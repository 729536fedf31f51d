"""What decoding takes: a decoder in torch, or one that is packed for a CPU."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeAlias

from unitlm.model import Decoder

if TYPE_CHECKING:
    from unitlm.engine.decoder import PackedDecoder
    from unitlm.engine.packing import Precision

LanguageModel: TypeAlias = "Decoder | PackedDecoder"


def pack_decoder(decoder: Decoder, precision: Precision) -> LanguageModel:
    """The fastest form of a decoder: packed, where it can be; elsewhere the decoder itself.

    Args:
        decoder: In evaluation mode.
        precision: Of the packed weights: `fp32`, `bf16` or `int8`.

    Returns:
        The decoder as it is, if it is on an accelerator, is not causal or has stages, or without numba.
    """
    config = decoder.config
    on_cpu = decoder.embedding.weight.device.type == "cpu"
    if not config.causal or config.stages or not on_cpu or find_spec("numba") is None:
        return decoder
    from unitlm.engine.decoder import PackedDecoder  # compiled code is loaded only where it is used

    return PackedDecoder(decoder, precision)
