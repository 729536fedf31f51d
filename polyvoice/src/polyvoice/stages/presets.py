"""Sizes of the models of all stages, in five presets. They are ours: the paper does not publish its own in full.

`tiny` is for tests; `mini` trains on a laptop's CPU in an hour, `small` in a night; `base` wants one GPU; `large` many.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from unitlm.model import ModelConfig

Preset = Literal["tiny", "mini", "small", "base", "large"]
StageName = Literal["translate", "duration", "first_level", "other_levels"]


@dataclass(frozen=True)
class Size:
    """The shape of a decoder, and how fast it may learn.

    Attributes:
        width: width of the residual stream.
        layers: number of blocks.
        heads: query heads.
        key_value_heads: key/value heads.
        feed_forward_width: inner width of the feed-forward part.
        dropout: dropout of the residual branches.
        learning_rate: peak learning rate; the wider, the slower.
    """

    width: int
    layers: int
    heads: int
    key_value_heads: int
    feed_forward_width: int
    dropout: float
    learning_rate: float

    def model_config(
        self,
        vocabulary_size: int,
        *,
        causal: bool = True,
        prefix_lm: bool = False,
        stages: int = 0,
        conditions: int = 0,
        dropout: float | None = None,
    ) -> ModelConfig:
        """A decoder of this size; the arguments are those of `unitlm.model.ModelConfig`, and None keeps the preset."""
        from unitlm.model import ModelConfig

        return ModelConfig(
            vocabulary_size=vocabulary_size,
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            key_value_heads=self.key_value_heads,
            feed_forward_width=self.feed_forward_width,
            causal=causal,
            prefix_lm=prefix_lm,
            stages=stages,
            conditions=conditions,
            dropout=self.dropout if dropout is None else dropout,
        )


PRESETS: Mapping[Preset, Mapping[StageName, Size]] = {
    "tiny": {
        "translate": Size(64, 2, 2, 2, 128, 0.0, 3e-3),
        "duration": Size(32, 2, 2, 2, 64, 0.0, 3e-3),
        "first_level": Size(64, 2, 2, 2, 128, 0.0, 3e-3),
        "other_levels": Size(64, 2, 2, 2, 128, 0.0, 3e-3),
    },
    "mini": {
        "translate": Size(256, 6, 4, 4, 640, 0.1, 2e-3),
        "duration": Size(128, 3, 2, 2, 320, 0.1, 2e-3),
        "first_level": Size(256, 6, 4, 4, 640, 0.1, 2e-3),
        "other_levels": Size(256, 5, 4, 4, 640, 0.1, 2e-3),
    },
    "small": {
        "translate": Size(384, 6, 6, 6, 1_024, 0.1, 1e-3),
        "duration": Size(192, 4, 3, 3, 512, 0.1, 1e-3),
        "first_level": Size(320, 8, 5, 5, 864, 0.1, 1e-3),
        "other_levels": Size(320, 6, 5, 5, 864, 0.1, 1e-3),
    },
    "base": {
        "translate": Size(768, 12, 12, 12, 2_048, 0.1, 6e-4),
        "duration": Size(384, 6, 6, 6, 1_024, 0.1, 1e-3),
        "first_level": Size(768, 12, 12, 12, 2_048, 0.1, 6e-4),
        "other_levels": Size(768, 12, 12, 12, 2_048, 0.1, 6e-4),
    },
    "large": {
        "translate": Size(2_048, 36, 16, 4, 5_504, 0.1, 2e-4),
        "duration": Size(768, 12, 12, 12, 2_048, 0.1, 6e-4),
        "first_level": Size(1_280, 24, 20, 20, 3_456, 0.1, 4e-4),
        "other_levels": Size(1_280, 24, 20, 20, 3_456, 0.1, 4e-4),
    },
}
