"""How the next unit is chosen: pure functions on logits, and the set of units that may be chosen at all.

Logits here are [B, N] over the N candidates of a `Choices`, not over the whole vocabulary: what lies outside the
alphabet has no column and can therefore never be emitted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from unitlm.errors import InputError
from unitlm.language_model import LanguageModel
from unitlm.model import Decoder
from unitlm.vocabulary import Vocabulary

NEVER = -math.inf


@dataclass(frozen=True)
class Choices:
    """The ids that may follow: those of one alphabet, in order, then the end token unless the length is known.

    Attributes:
        start: First id of the alphabet.
        stop: The id behind its last.
        end: Id of the end token; None when decoding stops by length.
    """

    start: int
    stop: int
    end: int | None

    @classmethod
    def of(cls, vocabulary: Vocabulary, alphabet: str, known_length: bool = False) -> Choices:
        """The choices that `alphabet` of `vocabulary` leaves."""
        start, stop = vocabulary.span(alphabet)
        return cls(start, stop, None if known_length else vocabulary.end)

    def scorer(self, model: LanguageModel) -> Callable[[Tensor], Tensor]:
        """A function from hidden states [..., D] to logits [..., N] of these choices; the rest is not computed.

        Raises:
            InputError: The model has no such ids, as when it was trained with another vocabulary.
        """
        size = model.config.vocabulary_size
        if self.stop > size or (self.end or 0) >= size:
            asked = f"ids {self.start}..{self.stop - 1}" + ("" if self.end is None else f" and end {self.end}")
            raise InputError(f"choices: {asked} are not all in the model's 0..{size - 1}")
        if not isinstance(model, Decoder):
            return partial(model.score, choices=self)
        weight = model.head.weight[self.start : self.stop]
        if self.end is not None:
            weight = torch.cat((weight, model.head.weight[self.end : self.end + 1]))
        return partial(F.linear, weight=weight)

    def best(self, model: LanguageModel, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """The most probable columns [B] for hidden states [B, D], and their log-probabilities [B] in nats."""
        if not isinstance(model, Decoder):
            return model.best(hidden, self)
        log_probabilities = F.log_softmax(self.scorer(model)(hidden).float(), dim=-1)
        gains, columns = log_probabilities.max(dim=-1)
        return columns, gains

    def to_ids(self, columns: Tensor) -> Tensor:
        """Vocabulary ids of candidate columns, of any shape."""
        ids = columns + self.start
        return ids if self.end is None else torch.where(columns == self.stop - self.start, self.end, ids)

    def is_end(self, columns: Tensor) -> Tensor:
        """Where a candidate column is the end token."""
        if self.end is None:
            return torch.zeros_like(columns, dtype=torch.bool)
        return columns == self.stop - self.start


@dataclass(frozen=True)
class Sampling:
    """How to draw from the distribution; temperature 0 takes the most probable unit.

    Attributes:
        temperature: Divides the logits.
        top_k: Keep only the k most probable (0: all).
        top_p: Keep only the smallest set whose probability reaches p (nucleus sampling, arXiv 1904.09751).
        repetition_window: How many of the last units repetition-aware sampling looks at (0: off).
        repetition_threshold: A drawn unit that makes up more than this share of the window is drawn again from the
            whole distribution (VALL-E 2, arXiv 2406.05370, section 4.3.1; there window 10 and threshold 0.1).

    Raises:
        InputError: A value is out of range.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_window: int = 0
    repetition_threshold: float = 0.1

    @property
    def sharpness(self) -> float:
        """What logits are multiplied by where the temperature is not 0; finite, so that those next to 0 are like 0."""
        return min(1 / self.temperature, 1e30)

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise InputError(f"sampling: temperature must be a number of at least 0, got {self.temperature}")
        if self.top_k < 0:
            raise InputError(f"sampling: top_k must not be negative, got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise InputError(f"sampling: top_p must be in (0, 1], got {self.top_p}")
        if self.repetition_window < 0 or not 0 <= self.repetition_threshold <= 1:
            raise InputError("sampling: repetition_window must not be negative, repetition_threshold must be in [0, 1]")


GREEDY = Sampling()


def choose(
    logits: Tensor, sampling: Sampling, generator: torch.Generator | None, recent: Tensor | None = None
) -> Tensor:
    """Choose one candidate a row.

    Args:
        logits: [B, N].
        sampling: How.
        generator: Source of all randomness; not touched when the temperature is 0.
        recent: Candidate columns [B, W] chosen last, negative where there is none; for repetition-aware sampling.

    Returns:
        Candidate columns, int64 [B].
    """
    if sampling.temperature == 0:
        return logits.argmax(dim=-1)
    scores = logits.float()
    scaled = (scores - scores.amax(dim=-1, keepdim=True)) * sampling.sharpness
    columns = draw(keep_top_p(keep_top_k(scaled, sampling.top_k), sampling.top_p), generator)
    if sampling.repetition_window and recent is not None:
        window = recent[:, -sampling.repetition_window :]
        share = (window == columns.unsqueeze(1)).sum(dim=1) / sampling.repetition_window
        # Both draws are made for every row, so the stream of random numbers does not depend on what was drawn.
        again = draw(scaled, generator)
        columns = torch.where(share > sampling.repetition_threshold, again, columns)
    return columns


def draw(logits: Tensor, generator: torch.Generator | None) -> Tensor:
    """One draw a row from softmax(logits): where one random number falls among the cumulated probabilities."""
    # In float64, so that a number below 1 times the sum stays below the sum, and nothing of probability 0 is drawn.
    cumulated = F.softmax(logits.float(), dim=-1).double().cumsum(dim=-1)
    points = torch.rand(*logits.shape[:-1], 1, generator=generator, device=logits.device)
    columns = torch.searchsorted(cumulated, points * cumulated[..., -1:], right=True).squeeze(-1)
    return columns.clamp(max=logits.shape[-1] - 1)  # only where a logit is no number


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Rule out all but the k largest of each row [..., N] and what ties with the k-th; k = 0 keeps all."""
    if k == 0 or k >= logits.shape[-1]:
        return logits
    threshold = logits.topk(k, dim=-1).values[..., -1:]
    return logits.masked_fill(logits < threshold, NEVER)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """Rule out all but the smallest set of candidates whose probability reaches p; the best one always stays."""
    if p >= 1:
        return logits
    ordered, order = logits.sort(dim=-1, descending=True)
    probabilities = F.softmax(ordered.float(), dim=-1)
    before = probabilities.cumsum(dim=-1) - probabilities  # what the better ones already have
    ruled_out = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, before >= p)
    return logits.masked_fill(ruled_out, NEVER)
