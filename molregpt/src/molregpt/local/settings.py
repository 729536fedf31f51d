"""Settings of the local model's training: light to import, checked when made."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from molregpt.errors import InputError


@dataclass(frozen=True)
class CorpusConfig:
    """How examples are made of pairs.

    Attributes:
        passes: How often each pair is used in each direction, each time with other neighbours.
        shots: The most neighbours in the context.
        depth: How many of the nearest neighbours are drawn from.
        nearest_share: Share of the examples that show just the nearest ones, as answering does; the others show a draw.
        respelled_share: Share of the described molecules that are written in a random order of atoms.
        unnamed_share: Share of the examples in which nothing has a systematic name, as where a molecule has none.
        scrambled_share: Share of the examples in which pieces of the answers stand for others, the same throughout the
            example: what such an answer says cannot be known from elsewhere, only read from the neighbours.
        itself_share: Share of those in which all neighbours are the pair itself: from them copying is learned soonest.
        learned_passes: In the first so many passes the neighbours' answers are learned too, not only the query's.
        longest: The most tokens of an example; the least similar neighbours are left out until it fits.
        rows_per_shard: Pairs in one shard.
        corpus_seed: Seed of all draws.

    Raises:
        InputError: A value is out of range.
    """

    passes: int = 4
    shots: int = 3
    depth: int = 12
    nearest_share: float = 0.5
    respelled_share: float = 0.2
    unnamed_share: float = 0.1
    scrambled_share: float = 0.5
    itself_share: float = 0.5
    learned_passes: int = 1
    longest: int = 512
    rows_per_shard: int = 2048
    corpus_seed: int = 0

    def __post_init__(self) -> None:
        for name in ("passes", "shots", "depth", "longest", "rows_per_shard"):
            if getattr(self, name) < 1:
                raise InputError(f"corpus config: {name} must be at least 1, got {getattr(self, name)}")
        if self.depth < self.shots:
            raise InputError(f"corpus config: depth ({self.depth}) must not be below shots ({self.shots})")
        for name in ("nearest_share", "respelled_share", "unnamed_share", "scrambled_share", "itself_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"corpus config: {name} must be in [0, 1], got {getattr(self, name)}")

    def without_chance(self) -> CorpusConfig:
        """Each pair once, as answering sees it: for what is watched and not learned."""
        certain = replace(self, passes=1, nearest_share=1.0, learned_passes=0)
        return replace(certain, respelled_share=0.0, unnamed_share=0.0, scrambled_share=0.0)


@dataclass(frozen=True)
class Size:
    """The shape of the decoder.

    Attributes:
        width: Width of the residual stream.
        layers: Number of blocks.
        heads: Query heads, and key/value heads.
        feed_forward_width: Inner width of the feed-forward part.
        dropout: Dropout of the residual branches.
    """

    width: int = 320
    layers: int = 8
    heads: int = 5
    feed_forward_width: int = 864
    dropout: float = 0.1


@dataclass(frozen=True)
class Course:
    """How long and how fast.

    Attributes:
        steps: Optimizer steps of the whole run, after those of the recitals.
        recital_steps: Steps before it in which only copying is learned (`molregpt.local.recitals`); by default 400 of a
            new model and none of one that has a base, which forgets much by them.
        batch_rows: Rows in a step, each of as many tokens as the longest example may have.
        micro_batch_rows: Rows computed at once; the rest is accumulation.
        learning_rate: Peak learning rate.
        warmup_steps: Steps until the peak.
        decay_steps: Steps of the fall at the end.
        evaluate_every: Steps between looks at the held-out pairs.
        checkpoint_every: Steps between checkpoints.
        precision: What is computed in; `auto` takes bf16 where the hardware has instructions for it, else fp32.
        seed: Seed of weights and of the data's order.
    """

    steps: int = 6000
    recital_steps: int | None = None
    batch_rows: int = 16
    micro_batch_rows: int = 8
    learning_rate: float = 1e-3
    warmup_steps: int = 200
    decay_steps: int = 1500
    evaluate_every: int = 200
    checkpoint_every: int = 50
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    seed: int = 0


@dataclass(frozen=True)
class TrainSettings:
    """Everything about a run but its tables.

    Attributes:
        size: Shape of the decoder.
        course: Steps and rates.
        corpus: How examples are made.
    """

    size: Size = field(default_factory=Size)
    course: Course = field(default_factory=Course)
    corpus: CorpusConfig = field(default_factory=CorpusConfig)


@dataclass(frozen=True)
class AdaptSettings:
    """How a trained model is adapted to a table of one's own.

    Attributes:
        method: `lora` learns low-rank updates of the attention, `prompt` a few vectors that stand before the question.
        rank: Rank of the updates (`lora`).
        prompt_length: Number of vectors (`prompt`).
        steps: Optimizer steps.
        batch_rows: Rows of the model's length in a step.
        learning_rate: Peak learning rate; None takes 2e-3 for `lora` and 2e-2 for `prompt`.
        passes: How often each pair is used in each direction, each time with other neighbours.
        seed: Seed of everything.

    Raises:
        InputError: A value is out of range.
    """

    method: Literal["lora", "prompt"] = "lora"
    rank: int = 8
    prompt_length: int = 16
    steps: int = 200
    batch_rows: int = 4
    learning_rate: float | None = None
    passes: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rank", "prompt_length", "steps", "batch_rows", "passes"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
