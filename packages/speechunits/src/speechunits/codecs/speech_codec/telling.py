"""What a decoder is told in training: mostly one level, units and a voice, and everything else often enough."""

from dataclasses import dataclass

import torch
from torch import Tensor

from speechunits.codecs.speech_codec.data import Batch
from speechunits.codecs.speech_codec.guide import Guidance
from speechunits.codecs.speech_codec.model import CodecModel
from speechunits.codecs.speech_codec.quantizer import draw_levels

# Shares of a batch. Those of few levels are for the synthesis, whose first level is the surest.
_TOLD_NOTHING = 0.1
_NO_LEVEL = 0.1
_ONE_LEVEL = 0.55
# A language model's codes are never all right: up to this share of an item's first level are other codes.
_WRONG_CODES = 0.2


@dataclass(frozen=True, eq=False)
class Told:
    """What a decoder gets of a batch.

    Attributes:
        latent: `[B, T, D]`.
        guidance: what is told beside it; None for a decoder that is told nothing.
    """

    latent: Tensor
    guidance: Guidance | None


@torch.no_grad()
def tell(model: CodecModel, batch: Batch, chance: torch.Generator) -> Told:
    """Choose how much a decoder gets to know of each item of a batch.

    Args:
        model: a codec whose codes are final.
        batch: crops.
        chance: on the CPU.
    """
    codes = model.encode(batch.samples)  # [K, B, T], in float32, as they will be made later
    levels, rows, frames = codes.shape
    used = draw_levels(rows, levels, chance)
    if batch.units is None or batch.prompts is None or batch.prompt_frames is None:
        return Told(model.quantizer.decode(codes, used.to(codes.device)), None)
    told = torch.rand(rows, generator=chance) >= _TOLD_NOTHING
    kind = torch.rand(rows, generator=chance)
    few = torch.where(kind < _NO_LEVEL, 0, 1)
    used = torch.where(told & (kind < _NO_LEVEL + _ONE_LEVEL), few, used)
    wrong = torch.rand(rows, frames, generator=chance) < _WRONG_CODES * torch.rand(rows, 1, generator=chance)
    others = codes[0].flatten()[torch.randint(rows * frames, (rows, frames), generator=chance).to(codes.device)]
    # The upper levels say what the right first code left over: beside a wrong one they would mean nothing.
    swapped = (wrong & told[:, None] & (used == 1)[:, None]).to(codes.device)
    codes[0] = torch.where(swapped, others, codes[0])
    known = told.to(codes.device)
    guidance = Guidance(
        units=torch.where(known[:, None], batch.units, -1),
        prompt=model.quantizer.decode(model.encode(batch.prompts)),
        prompt_frames=torch.where(known, batch.prompt_frames, 0),
    )
    return Told(model.quantizer.decode(codes, used.to(codes.device)), guidance)
