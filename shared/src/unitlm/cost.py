"""What a decoder costs to train: parameters, arithmetic, memory and time, from its shape alone.

Everything here is a formula over `ModelConfig`, so the cost of a model that no machine at hand could hold is known
before anything is bought. Parameters and the state of the optimizer are exact; arithmetic counts multiplications of
matrices, as Kaplan et al. do (arXiv 2001.08361, section 2.1; Hoffmann et al., arXiv 2203.15556, appendix F); memory of
activations is counted tensor by tensor as Korthikanti et al. do (arXiv 2205.05198, section 4.1), for this block, whose
attention keeps no scores.

Letters: N parameters, S steps of a row, V vocabulary, D width, H query heads, G key/value heads, C head width, F
feed-forward width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from unitlm.model import ModelConfig
    from unitlm.optimizer import OptimizerName

Precision = Literal["fp32", "bf16"]

_FLOAT32 = 4
_BYTES: Mapping[Precision, int] = {"fp32": 4, "bf16": 2}
CHINCHILLA_TOKENS = 20
"""Training tokens a parameter with which Hoffmann et al. (arXiv 2203.15556, table 3) spend arithmetic best."""


@dataclass(frozen=True)
class Parameters:
    """How many parameters there are, by what they do.

    Attributes:
        layer: Matrices of one block.
        layers: Matrices of all blocks: what Muon takes, where it is used.
        head: The output matrix, which multiplies; shared with the embedding when tied.
        tables: Embeddings, conditions and stages, which are only looked up; without a tied embedding.
        vectors: Norms.
    """

    layer: int
    layers: int
    head: int
    tables: int
    vectors: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.layers + self.head + self.tables + self.vectors

    @property
    def multiplied(self) -> int:
        """Those that each token is multiplied by."""
        return self.layers + self.head


def count_parameters(model: ModelConfig) -> Parameters:
    """Count the parameters of a decoder without making it."""
    queries = model.heads * model.head_width
    attention = model.width * (queries + 2 * model.key_value_heads * model.head_width) + queries * model.width
    layer = attention + 3 * model.width * model.feed_forward_width
    norms = 2 * model.layers + 1
    embedding = 0 if model.tied else model.vocabulary_size
    return Parameters(
        layer=layer,
        layers=model.layers * layer,
        head=model.vocabulary_size * model.width,
        tables=(embedding + model.conditions + norms * 2 * model.stages) * model.width,
        vectors=norms * model.width,
    )


def training_flops(model: ModelConfig, sequence_length: int, *, scored_ids: int | None = None) -> int:
    """Floating-point operations that one token costs in training, forward and backward.

    A product takes two a weight, and the backward pass twice the forward's: the 6 N of Kaplan et al. To it comes the
    attention to every step of the row (12 D S a layer), which is the most that it can be: a causal model needs half,
    and short documents in a long row less still, where the attention that is used makes something of that.

    Args:
        model: The decoder's shape.
        sequence_length: S.
        scored_ids: Ids that the head scores at each position; V by default. All positions count as scored.
    """
    counted = count_parameters(model)
    head = model.width * (model.vocabulary_size if scored_ids is None else scored_ids)
    attention = 2 * 2 * model.width * sequence_length * model.layers
    return 3 * (2 * (counted.layers + head) + attention)


@dataclass(frozen=True)
class Memory:
    """Bytes on one device in a training step.

    Attributes:
        weights: In float32.
        gradients: In float32.
        optimizer: The optimizer's memory.
        average: The averaged weights.
        copies: Weights in the type of computing: of the whole model, or with FSDP2 of what is gathered at once, with
            that part's gradients.
        activations: What the blocks keep for the backward pass.
        logits: Scores, their logarithms and their gradient.
    """

    weights: int
    gradients: int
    optimizer: int
    average: int
    copies: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        """All of it."""
        state = self.weights + self.gradients + self.optimizer + self.average
        return state + self.copies + self.activations + self.logits


def estimate_memory(
    model: ModelConfig,
    micro_batch_tokens: int,
    *,
    devices: int = 1,
    sharded: bool = False,
    optimizer: OptimizerName = "adamw",
    averaged: bool = True,
    precision: Precision = "bf16",
    scored_ids: int | None = None,
    fused_norm: bool = True,
) -> Memory:
    """Bytes that one device needs for a step.

    Args:
        model: The decoder's shape.
        micro_batch_tokens: Positions that a device computes at once.
        devices: How many share the state when it is sharded.
        sharded: FSDP2; else each device has all of it (DDP, or one device).
        optimizer: AdamW keeps two numbers a parameter, Muon one for the blocks' matrices.
        averaged: Whether averaged weights are kept.
        precision: Of computing.
        scored_ids: As in `training_flops`.
        fused_norm: Whether a norm is one kernel, as on CUDA; on a CPU it keeps its output as well.
    """
    counted = count_parameters(model)
    parts = devices if sharded else 1
    state = -(-counted.total * _FLOAT32 // parts)
    moments = 2 * counted.total - (counted.layers if optimizer == "muon" else 0)
    computing = _BYTES[precision]
    root = counted.total - counted.layers
    if sharded and devices > 1:
        # Gathered at once: the root, a block and the next one, which is on its way; and gradients of root and block.
        copies = computing * (2 * root + 3 * counted.layer)
    else:
        copies = computing * counted.multiplied if precision == "bf16" else 0
    return Memory(
        weights=state,
        gradients=state,
        optimizer=-(-moments * _FLOAT32 // parts),
        average=state if averaged else 0,
        copies=copies,
        activations=micro_batch_tokens * activation_bytes(model, precision=precision, fused_norm=fused_norm),
        logits=micro_batch_tokens * logit_bytes(model, precision=precision, scored_ids=scored_ids),
    )


def activation_bytes(model: ModelConfig, *, precision: Precision = "bf16", fused_norm: bool = True) -> int:
    """Bytes that the blocks keep of one token until the backward pass; nothing is computed twice to save memory."""
    computing = _BYTES[precision]
    width = model.width
    keys = model.key_value_heads * model.head_width
    # The residual stream stays in float32; adaptive norms also keep what they scale.
    norm = _FLOAT32 * width * (1 + (not fused_norm) + bool(model.stages))
    products = 3 * width  # what the projections and the gate read
    attention = (width + keys) + (width + 2 * keys)  # rotated queries and keys; values, in the buffer of all three
    feed_forward = 4 * model.feed_forward_width  # gate and up, the gate's activation, and their product
    layer = computing * (products + attention + feed_forward) + _FLOAT32 * model.heads + 2 * norm
    if model.dropout:
        layer += 2 * width  # one byte a mask
    return model.layers * layer + norm + computing * width


def logit_bytes(model: ModelConfig, *, precision: Precision = "bf16", scored_ids: int | None = None) -> int:
    """Bytes of one scored position's logits, of their logarithms in float32 and of the gradient of these."""
    return (_BYTES[precision] + 2 * _FLOAT32) * (model.vocabulary_size if scored_ids is None else scored_ids)


def training_seconds(flops: float, *, devices: int, device_tflops: float, utilisation: float) -> float:
    """Seconds that so much arithmetic takes.

    Args:
        flops: In all.
        devices: How many share it.
        device_tflops: Peak of one, in 10^12 operations a second, dense.
        utilisation: The part of it that training reaches (MFU of arXiv 2204.02311, appendix B).
    """
    return flops / (devices * device_tflops * 1e12 * utilisation)
