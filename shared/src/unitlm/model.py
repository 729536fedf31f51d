"""The decoder: one transformer for every task of the house.

Causal, it continues a sequence of units (U-XLM, duration LM, U-SLM AR, molecule captions); bidirectional with stage
conditioning, it fills in one codec level at a time (U-SLM NAR, VALL-E section 4.2). Pre-norm with RMSNorm, rotary
positions, SwiGLU and grouped queries: the shape of Llama, so that a trained causal decoder exports to a Llama folder
(`unitlm.llama`) and any serving engine can run it.

Letters in shapes: B batch, S sequence step, T cache slot, K codebook, V vocabulary, D width, H query head,
G key/value head, C width of one head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unitlm.document_attention import attend_within, document_lengths
from unitlm.errors import InputError

if TYPE_CHECKING:
    from unitlm.cache import KeyValueCache

ABSENT = -1
"""Id of a codebook, condition or segment that a position does not have. No token has it, so it cannot be mistaken."""


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a decoder.

    Attributes:
        vocabulary_size: Number of token ids V.
        width: Width D of the residual stream.
        layers: Number of blocks.
        heads: Query heads H; `width` is a multiple of it.
        key_value_heads: Key/value heads G; `heads` is a multiple of it.
        feed_forward_width: Inner width of SwiGLU.
        rope_base: Base of the rotary frequencies.
        norm_epsilon: Added to the mean square in RMSNorm.
        tied: Whether the output head shares the embedding's weight.
        causal: Whether a position sees only itself and what came before.
        prefix_lm: Whether the positions of a prompt see each other both ways and only what follows is causal (T5's
            prefix LM, arXiv 1910.10683, section 3.2.1); for causal models.
        stages: Number of stages of adaptive normalisation (0: none). VALL-E's NAR model has one per codec level.
        conditions: Number of condition ids that may be added to a position, such as language ids (0: none).
        dropout: Probability of dropping an element of a residual branch in training.

    Raises:
        InputError: A value is out of range.
    """

    vocabulary_size: int
    width: int
    layers: int
    heads: int
    key_value_heads: int
    feed_forward_width: int
    rope_base: float = 10_000.0
    norm_epsilon: float = 1e-5
    tied: bool = True
    causal: bool = True
    prefix_lm: bool = False
    stages: int = 0
    conditions: int = 0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("vocabulary_size", "width", "layers", "heads", "key_value_heads", "feed_forward_width"):
            if getattr(self, name) < 1:
                raise InputError(f"model config: {name} must be at least 1, got {getattr(self, name)}")
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise InputError(f"model config: width {self.width} must be heads ({self.heads}) times an even number")
        if self.heads % self.key_value_heads:
            raise InputError(
                f"model config: heads ({self.heads}) must be a multiple of key_value_heads ({self.key_value_heads})"
            )
        for name in ("stages", "conditions"):
            if getattr(self, name) < 0:
                raise InputError(f"model config: {name} must not be negative, got {getattr(self, name)}")
        for name in ("rope_base", "norm_epsilon"):
            if not getattr(self, name) > 0:
                raise InputError(f"model config: {name} must be positive, got {getattr(self, name)}")
        if not 0.0 <= self.dropout < 1.0:
            raise InputError(f"model config: dropout must be in [0, 1), got {self.dropout}")
        if self.prefix_lm and not self.causal:
            raise InputError("model config: prefix_lm is for causal models; the others see everything anyway")

    @property
    def head_width(self) -> int:
        """Width C of one head."""
        return self.width // self.heads


def make_table(rows: int, width: int) -> nn.Embedding:
    """An embedding whose weights nobody has drawn yet."""
    return nn.Embedding(rows, width, _weight=torch.empty(rows, width))


class Norm(nn.Module):
    """RMSNorm; with stages, adaptive: each stage scales and shifts the result by vectors of its own.

    This is AdaLN of VALL-E (arXiv 2301.02111, section 4.2.2), `a_i * norm(h) + b_i`, with a_i and b_i learned as one
    table over stages. The table starts at zero, so an untrained model treats all stages alike.
    """

    def __init__(self, width: int, epsilon: float, stages: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon
        self.stage = make_table(stages, 2 * width) if stages else None

    def forward(self, x: Tensor, stage: Tensor | None) -> Tensor:
        """Normalise `x` [B, S, D]; `stage` is [B] when the norm has stages."""
        x = F.rms_norm(x, self.weight.shape, self.weight, self.epsilon)
        if self.stage is None:
            return x
        scale, shift = self.stage(stage).unsqueeze(1).chunk(2, dim=-1)  # [B, 1, D] each
        return x * (1.0 + scale) + shift  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Self-attention with rotary positions and grouped queries; one fused projection for query, key and value."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.groups, self.head_width = config.heads, config.key_value_heads, config.head_width
        self.query_key_value = nn.Linear(config.width, (self.heads + 2 * self.groups) * self.head_width, bias=False)
        self.output = nn.Linear(config.width, config.width, bias=False)

    def project(self, x: Tensor, rotation: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Query [B, H, S, C], key and value [B, G, S, C] of `x` [B, S, D], the first two rotated."""
        heads = self.query_key_value(x).unflatten(-1, (-1, self.head_width)).transpose(1, 2)  # [B, H + 2G, S, C]
        rotated = rotate(heads[:, : self.heads + self.groups], rotation)
        return rotated[:, : self.heads], rotated[:, self.heads :], heads[:, self.heads + self.groups :]

    def collect(self, query: Tensor, key: Tensor, value: Tensor, mask: Mask) -> Tensor:
        """What queries [B, H, S, C] find in values [B, G, T, C] by their keys: [B, H, S, C]."""
        if mask.lengths is not None:
            return attend_within(mask.lengths, query, key, value, is_causal=mask.is_causal)
        # A one-row batch of queries against shared heads would be expanded in memory by enable_gqa on some back
        # ends; it is still the one call that every back end has a fast path for.
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask.allowed, is_causal=mask.is_causal, enable_gqa=self.groups != self.heads
        )

    def combine(self, attended: Tensor) -> Tensor:
        """Map what all heads found [B, H, S, C] to [B, S, D]."""
        return self.output(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """SwiGLU with gate and up projections fused."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_up = nn.Linear(config.width, 2 * config.feed_forward_width, bias=False)
        self.down = nn.Linear(config.feed_forward_width, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, S, D] to [B, S, D]."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)  # type: ignore[no-any-return]


class Dropout(nn.Module):
    """Dropout that draws 16 bits an element, four elements at once; torch's own on a CPU draws a double for each."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.dropped = min(round(probability * 2**16), 2**16 - 1)  # of 2^16 values that a noise can have
        self.probability = self.dropped / 2**16

    def draw(self, x: Tensor) -> Tensor | None:
        """Noise for a tensor like `x` [..., D], int16, from torch's generator; None where nothing needs it."""
        if not (self.training and self.dropped and x.device.type == "cpu"):
            return None
        words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)  # all 64 bits
        return words.view(torch.int16)[: x.numel()].view(x.shape)

    def forward(self, x: Tensor, noise: Tensor | None) -> Tensor:
        """Set elements of `x` to zero and scale the others up; by `noise` of its shape, where there is one."""
        if noise is None:
            return F.dropout(x, self.probability, self.training)
        return torch.where(noise >= self.dropped - 2**15, x / (1.0 - self.probability), 0.0)


class Block(nn.Module):
    """One layer: attention and feed-forward, each on a normalised copy of the residual stream."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = Norm(config.width, config.norm_epsilon, config.stages)
        self.attention = Attention(config)
        self.feed_forward_norm = Norm(config.width, config.norm_epsilon, config.stages)
        self.feed_forward = FeedForward(config)
        self.dropout = Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        rotation: tuple[Tensor, Tensor],
        mask: Mask,
        stage: Tensor | None,
        cache: KeyValueCache | None,
        layer: int,
    ) -> Tensor:
        """Map [B, S, D] to [B, S, D]."""
        query, key, value = self.enter(x, rotation, stage)
        if cache is not None:
            key, value = cache.write(layer, key, value)
        attended = self.attention.collect(query, key, value, mask)
        return self.leave(x, attended, stage, (self.dropout.draw(x), self.dropout.draw(x)))

    # The halves around attention are functions of tensors alone, so that training can compile them
    # (`unitlm.compilation`); chance is handed in, as compiled code would draw it otherwise.

    def enter(self, x: Tensor, rotation: tuple[Tensor, Tensor], stage: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """From the residual stream `x` [B, S, D] to query, key and value; see `Attention.project`."""
        return self.attention.project(self.attention_norm(x, stage), rotation)

    def leave(
        self, x: Tensor, attended: Tensor, stage: Tensor | None, noises: tuple[Tensor | None, Tensor | None]
    ) -> Tensor:
        """Back to the residual stream `x` [B, S, D] with what was `attended` [B, H, S, C], and through feed-forward."""
        x = x + self.dropout(self.attention.combine(attended), noises[0])
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x, stage)), noises[1])  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Mask:
    """Who may see whom.

    Attributes:
        is_causal: Torch's own flag: nobody sees what comes later.
        allowed: Bool [B or 1, 1, S, T], True where it may look; None: everywhere, but for the flag.
        lengths: Steps of the documents that lie one after another in the rows, B * S in all: each is attended to by
            itself, and nothing else is.
    """

    is_causal: bool
    allowed: Tensor | None
    lengths: tuple[int, ...] | None = None


class Decoder(nn.Module):
    """A transformer over one id space in which all alphabets lie side by side.

    Ids are [B, S], or [B, S, K] where a position carries several codebooks at once: their embeddings are summed and
    `ABSENT` entries add nothing.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = make_table(config.vocabulary_size, config.width)
        self.condition = make_table(config.conditions, config.width) if config.conditions else None
        self.layers = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = Norm(config.width, config.norm_epsilon, config.stages)
        self.head = nn.Linear(config.width, config.vocabulary_size, bias=False)
        if config.tied:
            self.head.weight = self.embedding.weight
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw fresh weights: normal(0, 0.02), and the two writers into the residual stream smaller by depth (GPT-2).

        Condition and stage tables start at zero: until they are trained they change nothing. Nothing is drawn on the
        meta device, where torch would load its compiler for it, which takes longer than a small model's answer.
        """
        for name, parameter in self.named_parameters():
            if parameter.is_meta:
                continue
            if name.startswith("condition.") or name.endswith("stage.weight"):
                nn.init.zeros_(parameter)
            elif parameter.dim() == 2:
                writer = name.endswith(("attention.output.weight", "feed_forward.down.weight"))
                scale = 0.02 / math.sqrt(2 * self.config.layers) if writer else 0.02
                nn.init.normal_(parameter, std=scale, generator=generator)
            else:
                nn.init.ones_(parameter)

    def forward(
        self,
        ids: Tensor,
        *,
        positions: Tensor | None = None,
        segments: Tensor | None = None,
        conditions: Tensor | None = None,
        stage: Tensor | None = None,
        prompt: Tensor | None = None,
        cache: KeyValueCache | None = None,
        at: Tensor | None = None,
        among: Tensor | None = None,
    ) -> Tensor:
        """Score the next token of every position (causal) or the token at every position (bidirectional).

        Args:
            ids: Token ids [B, S] or [B, S, K].
            positions: Rotary positions [B, S]; counted from 0, or from the cache's lengths, when not given.
            segments: Document number of each position [B, S]; attention never crosses it. Padding is a document too
                (by custom `ABSENT`), so no position is ever without anything to look at. Not with a cache.
            conditions: Condition ids [B, S], `ABSENT` for none.
            stage: Stage ids [B]; needed exactly when the model has stages.
            prompt: Positions of prompts, bool [B, S], at the beginning of their documents. A prefix LM needs it when it
                reads the beginning of a sequence; to other models prompts are like the rest.
            cache: Keys and values of what came before; this call's are appended, the caller advances the cache.
                For causal models.
            at: Positions that are wanted, bool [B, S]; the scores of the others are not computed.
            among: Ids [B, N] that alone are scored, for each row its own, such as the codes of one level; else all V.

        Returns:
            Logits [B, S, V], or [M, V] of the M positions where `at` is true, row by row; with `among` N in place of V.

        Raises:
            InputError: An argument that this model has no use for, `segments` with a cache, or a prefix LM that is not
                told where prompts are.
        """
        hidden = self.embed(ids, conditions)
        hidden = self.transform(hidden, positions=positions, segments=segments, stage=stage, prompt=prompt, cache=cache)
        if among is not None:
            logits = hidden @ self.head.weight[among].transpose(1, 2)  # [B, S, N]
            return logits if at is None else logits[at]
        return self.project(hidden if at is None else hidden[at])

    def embed(self, ids: Tensor, conditions: Tensor | None = None) -> Tensor:
        """Look up [B, S] or sum [B, S, K] ids, and add the conditions' vectors: [B, S, D]."""
        hidden = self._sum_codebooks(ids) if ids.dim() == 3 else self.embedding(ids)
        if conditions is not None:
            if self.condition is None:
                raise InputError("the model has no condition embeddings (conditions=0), but condition ids were given")
            present = (conditions != ABSENT).unsqueeze(-1)
            hidden = hidden + self.condition(conditions.clamp(min=0)) * present
        return hidden

    def _sum_codebooks(self, ids: Tensor) -> Tensor:
        """Sum of the vectors of ids [B, S, K]: [B, S, D]."""
        embedding: nn.Module = self.embedding
        present, found = ids != ABSENT, ids.clamp(min=0)
        if not isinstance(embedding, nn.Embedding):  # an adapter's, with vectors beyond the vocabulary
            return (embedding(found) * present.unsqueeze(-1)).sum(dim=2)  # type: ignore[no-any-return]
        # A tenth of the time and of the memory of the line above.
        factors = present.flatten(0, 1).to(embedding.weight.dtype)  # [B * S, K]
        summed = F.embedding_bag(found.flatten(0, 1), embedding.weight, mode="sum", per_sample_weights=factors)
        return summed.view(*ids.shape[:2], -1)

    def transform(
        self,
        hidden: Tensor,
        *,
        positions: Tensor | None = None,
        segments: Tensor | None = None,
        stage: Tensor | None = None,
        prompt: Tensor | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Run the blocks over embedded input [B, S, D]; the other arguments are those of `forward`."""
        if stage is None and self.config.stages:
            raise InputError(f"the model has {self.config.stages} stages: say which one each row is at (stage=...)")
        if stage is not None and not self.config.stages:
            raise InputError("the model has no stages, but stage ids were given")
        if cache is not None and (segments is not None or not self.config.causal):
            raise InputError("a cache needs a causal model and no segments: it masks by position alone")
        if not self.config.prefix_lm:
            prompt = None
        elif prompt is None and (cache is None or cache.extent == 0):
            raise InputError("a prefix LM has to know which positions are prompt (prompt=...)")
        steps = hidden.shape[1]
        if positions is None:
            positions = torch.arange(steps, device=hidden.device).unsqueeze(0)  # [1, S]
            if cache is not None:
                positions = positions + cache.lengths.unsqueeze(1)  # [B, S]
        mask = cache.mask(steps, prompt) if cache is not None else build_mask(self.config.causal, segments, prompt)
        rotation = rotary_angles(positions, self.config.head_width, self.config.rope_base, hidden.dtype)
        for index, layer in enumerate(self.layers):
            hidden = layer(hidden, rotation, mask, stage, cache, index)
        return self.norm(hidden, stage)  # type: ignore[no-any-return]

    def project(self, hidden: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Logits of the ids in [start, stop) for hidden states [..., D]; a narrow range costs less than all of V."""
        return F.linear(hidden, self.head.weight[start:stop])


def build_mask(causal: bool, segments: Tensor | None, prompt: Tensor | None = None) -> Mask:
    """The attention mask of a whole sequence.

    Args:
        causal: Whether a position sees only itself and what came before.
        segments: Document numbers [B, S], which keep packed documents apart.
        prompt: Positions [B, S] that see each other both ways within their document, though the rest is causal.
    """
    given = prompt if segments is None else segments
    if given is None:
        return Mask(is_causal=causal, allowed=None)
    if prompt is None and given.device.type == "cpu":
        lengths = document_lengths(given)
        if lengths is not None:
            return Mask(is_causal=causal, allowed=None, lengths=lengths)
    steps = given.shape[1]
    allowed = torch.ones((1, steps, steps), dtype=torch.bool, device=given.device)
    if causal:
        allowed = allowed.tril()
    if prompt is not None:
        allowed = allowed | pair_up(prompt)
    if segments is not None:
        allowed = allowed & (segments.unsqueeze(2) == segments.unsqueeze(1))  # [B, S, S]
    return Mask(is_causal=False, allowed=allowed.unsqueeze(1))


def pair_up(prompt: Tensor) -> Tensor:
    """Which pairs of positions are both marked in `prompt` [B, S]: bool [B, S, S]."""
    return prompt.unsqueeze(2) & prompt.unsqueeze(1)


def rotary_angles(positions: Tensor, head_width: int, base: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the rotary angles at `positions` [B, S], each [B, 1, S, C] with the two halves alike.

    Angles are computed in float32: in bf16 positions beyond 256 would already fall together.
    """
    exponents = torch.arange(0, head_width, 2, device=positions.device, dtype=torch.float32) / head_width
    angles = positions.to(torch.float32).unsqueeze(-1) * base**-exponents  # [B, S, C / 2]
    angles = torch.cat((angles, angles), dim=-1).unsqueeze(1)  # [B, 1, S, C]
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Turn each pair (c, c + C/2) of `x` [B, H, S, C] by its angle (RoFormer, in the half-split layout of Llama)."""
    cosine, sine = rotation
    first, second = x.chunk(2, dim=-1)
    return (x * cosine + torch.cat((-second, first), dim=-1) * sine).to(x.dtype)
