"""What a decoder is told in training: mostly units and a voice alone, and everything else often enough."""

import torch
from torch import Tensor

from speechunits.codecs.speech_codec.data import Batch
from speechunits.codecs.speech_codec.guide import Guidance
from speechunits.codecs.speech_codec.model import CodecModel
from speechunits.codecs.speech_codec.quantizer import draw_levels

# Share of a batch.
_TOLD_NOTHING = 0.1
# Shares of those that are told. No level is what synthesis gives by default, or the first, which is the surest.
_NO_LEVEL = 0.5
_ONE_LEVEL = 0.25
# A language model's codes are often not the right ones: up to this share of an item's first level are others, most of
# them among the nearest to the right one in its codebook.
_WRONG_CODES = 0.8
_NEAR_CODES = 0.75
_NEIGHBOURS = 32


@torch.no_grad()
def tell(model: CodecModel, batch: Batch, chance: torch.Generator) -> tuple[Tensor, Guidance | None]:
    """Choose how much a decoder gets to know of each item of a batch.

    Args:
        model: a codec whose codes are final.
        batch: crops.
        chance: on the CPU.

    Returns:
        The latent `[B, T, D]`, and what is told beside it; None for a decoder that is told nothing.
    """
    cues = batch.cues
    codes = model.encode(batch.samples)  # [K, B, T], in float32, as they will be made later
    levels, rows, frames = codes.shape
    used = draw_levels(rows, levels, chance)
    if cues is None:
        return model.quantizer.decode(codes, used.to(codes.device)), None
    told = torch.rand(rows, generator=chance) >= _TOLD_NOTHING
    kind = torch.rand(rows, generator=chance)
    few = torch.where(kind < _NO_LEVEL, 0, 1)
    used = torch.where(told & (kind < _NO_LEVEL + _ONE_LEVEL), few, used)
    wrong = torch.rand(rows, frames, generator=chance) < _WRONG_CODES * torch.rand(rows, 1, generator=chance)
    others = _other_codes(model.quantizer.codebooks[0], codes[0], chance)
    # The upper levels say what the right first code left over: beside a wrong one they would mean nothing.
    swapped = (wrong & told[:, None] & (used == 1)[:, None]).to(codes.device)
    codes[0] = torch.where(swapped, others, codes[0])
    known = told.to(codes.device)
    frames_heard = torch.arange(cues.prompts.shape[1] // model.settings.frame_samples, device=codes.device)
    heard = frames_heard < cues.prompt_frames[:, None]  # [B, P]; a prompt ends where its recording does
    guidance = Guidance(
        units=torch.where(known[:, None], cues.units, -1),
        prompt=model.quantizer.decode(model.encode(cues.prompts, heard)),
        prompt_frames=torch.where(known, cues.prompt_frames, 0),
    )
    return model.quantizer.decode(codes, used.to(codes.device)), guidance


def _other_codes(codebook: Tensor, codes: Tensor, chance: torch.Generator) -> Tensor:
    """A wrong code for each of `[B, T]`: one that is near to it in the codebook `[C, D]`, or any that occurs."""
    near = min(_NEIGHBOURS, len(codebook) - 1)
    if not near:
        return codes
    distances = torch.cdist(codebook[codes.flatten()], codebook)  # [B T, C]
    nearest = distances.topk(near + 1, largest=False).indices[:, 1:]  # without itself
    picks = torch.randint(near, (codes.numel(), 1), generator=chance).to(codes.device)
    neighbours = nearest.gather(1, picks).view_as(codes)
    anywhere = codes.flatten()[torch.randint(codes.numel(), codes.shape, generator=chance).to(codes.device)]
    is_near = (torch.rand(codes.shape, generator=chance) < _NEAR_CODES).to(codes.device)
    return torch.where(is_near, neighbours, anywhere)
