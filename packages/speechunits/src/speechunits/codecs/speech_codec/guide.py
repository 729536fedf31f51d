"""What a decoder may be told beside the codes: the unit of every frame, and a prompt in the voice that speaks.

The codes of one level say too little to speak clearly, and those of the others are hard to foretell. Units know what
is said, and a prompt knows the voice: told both, a decoder needs the first level alone. The voice moves the scales and
offsets of every block, as bandwidths do in Vocos (arXiv 2306.00814, section 3.3; adaptive normalisation).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from speechunits.codecs.speech_codec.layers import ConvNeXtBlock, TimeConv
from speechunits.codecs.speech_codec.settings import CodecSettings

_UNIT_BLOCKS = 2
_VOICE_BLOCKS = 2


@dataclass(frozen=True, eq=False)
class Guidance:
    """What is said by whom, for a batch.

    Attributes:
        units: one a code frame, `[B, T]` int64; -1 where it is not known.
        prompt: latent of speech in the same voice, `[B, P, D]`.
        prompt_frames: how many frames of each prompt are true, `[B]`; 0 where the voice is not known.
    """

    units: Tensor
    prompt: Tensor
    prompt_frames: Tensor

    @classmethod
    def nothing(cls, latent: Tensor) -> "Guidance":
        """What is known when nothing is told beside a latent `[B, T, D]`."""
        rows, frames, _ = latent.shape
        none = torch.zeros(rows, dtype=torch.int64, device=latent.device)
        return cls(none.new_full((rows, frames), -1), latent[:, :1], none)


class Guide(nn.Module):
    """Adds units to a decoder's hidden frames, and makes styles of a voice.

    A fresh one changes nothing: its last layers are zero.
    """

    def __init__(self, settings: CodecSettings, styled_blocks: int) -> None:
        """Make one for a decoder.

        Args:
            settings: of the codec; `decoder_units` is not 0.
            styled_blocks: blocks of the decoder whose style depends on the voice.
        """
        super().__init__()
        width, unknown = settings.decoder_width, settings.decoder_units
        self.units = nn.Embedding(unknown + 1, width)
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(width, settings.expansion, 1.0 / _UNIT_BLOCKS) for _ in range(_UNIT_BLOCKS)
        )
        self.end_norm = nn.LayerNorm(width)
        self.end = _zero_linear(width, width)
        self.voice = _Voice(settings, width, styled_blocks + _UNIT_BLOCKS)

    def forward(self, hidden: Tensor, mask: Tensor | None, guidance: Guidance) -> tuple[Tensor, Sequence[Tensor]]:
        """Return hidden frames `[B, T, W]` of the same shape, and a style `[B, 1, 2 W]` a block of the decoder."""
        styles = self.voice(guidance)
        unknown = self.units.num_embeddings - 1
        inner = hidden + self.units(torch.where(guidance.units < 0, unknown, guidance.units))
        for block, style in zip(self.blocks, styles[:_UNIT_BLOCKS], strict=True):
            inner = block(inner, mask, style)
        return hidden + self.end(self.end_norm(inner)), styles[_UNIT_BLOCKS:]


class _Voice(nn.Module):
    """A prompt's latent to styles, the same for all frames."""

    def __init__(self, settings: CodecSettings, style_width: int, styles: int) -> None:
        super().__init__()
        width = settings.decoder_voice_width
        self.start = TimeConv(settings.latent_width, width)
        self.start_norm = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(width, settings.expansion, 1.0 / _VOICE_BLOCKS) for _ in range(_VOICE_BLOCKS)
        )
        self.end_norm = nn.LayerNorm(2 * width)
        self.end = _zero_linear(2 * width, styles * 2 * style_width)
        self._styles = styles

    def forward(self, guidance: Guidance) -> Sequence[Tensor]:
        frames = guidance.prompt_frames[:, None]  # [B, 1]
        mask = torch.arange(guidance.prompt.shape[1], device=frames.device) < frames  # [B, P]
        hidden = self.start_norm(self.start(guidance.prompt, mask))
        for block in self.blocks:
            hidden = block(hidden, mask)
        # Mean and spread over time: what stays of a voice when what it says is forgotten.
        true, count = mask[..., None].to(hidden.dtype), frames.clamp(min=1).to(hidden.dtype)
        mean = (hidden * true).sum(1) / count  # [B, V]
        spread = (((hidden - mean[:, None]).square() * true).sum(1) / count + 1e-5).sqrt()
        styles = self.end(self.end_norm(torch.cat((mean, spread), dim=1))) * (frames > 0)
        return styles[:, None].chunk(self._styles, dim=-1)  # type: ignore[no-any-return]


def _zero_linear(width: int, out_width: int) -> nn.Linear:
    linear = nn.Linear(width, out_width)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
