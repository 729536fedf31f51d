"""Lines of aligned steps: one codebook is written, the others guide it.

Where what is written has a known place beside what is read (a codec frame beside its unit, a run length beside the
unit that lasts so long), a small model should not have to learn that alignment. So a step carries both: K ids that are
summed at the input, the last of them what was written at the step before, the others guides of this very step.

    guides      u0  u1  u2  u3  u4
    written     -   c0  c1  c2  c3
    predicted   c0  c1  c2  c3  c4

`causal_objective` learns such lines from shifted batches: an example has one more step, whose last codebook holds the
last written id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unitlm.errors import InputError
from unitlm.generate import Continuation, continue_rows, read_rows
from unitlm.language_model import LanguageModel
from unitlm.model import ABSENT
from unitlm.sampling import GREEDY, Choices, Sampling


@dataclass(frozen=True, eq=False)
class AlignedLine:
    """A row whose last steps are to be written.

    Attributes:
        ids: Input of every step [S, K], `ABSENT` where a codebook has nothing. The last codebook of the last
            `length - 1` steps is `ABSENT`: what was written at the step before goes there.
        length: How many of the last steps write one id each.
        conditions: Condition ids [S], or None.

    Raises:
        InputError: Shapes or length do not fit, or a place that is to be written is taken.
    """

    ids: NDArray[np.int64]
    length: int
    conditions: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if self.ids.ndim != 2 or len(self.ids) == 0:
            raise InputError(f"aligned line: ids are [S, K] with at least one step, not {list(self.ids.shape)}")
        if not 0 <= self.length <= len(self.ids):
            raise InputError(f"aligned line: {self.length} steps to write, but the line has {len(self.ids)}")
        if self.conditions is not None and self.conditions.shape != (len(self.ids),):
            raise InputError(f"aligned line: {len(self.conditions)} conditions for {len(self.ids)} steps")
        if (self.ids[self.given :, -1] != ABSENT).any():
            raise InputError("aligned line: the last codebook of the steps to be written must be absent")

    @property
    def given(self) -> int:
        """Steps whose input is known: the prompt, and the first that writes."""
        return len(self.ids) - max(self.length - 1, 0)


@torch.inference_mode()
def generate_aligned(
    model: LanguageModel,
    lines: Sequence[AlignedLine],
    choices: Choices,
    *,
    samples: int = 1,
    sampling: Sampling = GREEDY,
    generator: torch.Generator | None = None,
) -> list[Continuation]:
    """Write the last codebook of each line's last steps.

    Args:
        model: A causal decoder, in evaluation mode, or a packed one.
        lines: The rows; prompts and lengths may differ.
        choices: What may be written, without an end token: the length is known.
        samples: Continuations written for each line, of which `best_of` is returned.
        sampling: How ids are chosen.
        generator: Source of randomness, on the model's device.

    Returns:
        One continuation a line, in order, of exactly its length.

    Raises:
        InputError: No line, lines of unequal codebooks, some with conditions and some without, ids that the model does
            not have, or choices with an end token.
    """
    if not lines:
        raise InputError("aligned: needs at least one line")
    if choices.end is not None:
        raise InputError("aligned: the length is known, so there is no end token among the choices")
    given = [line.given for line in lines]
    steps = max(line.length for line in lines)
    embedded = _embed(model, lines, [slice(0, stop) for stop in given])
    guides = _embed(model, lines, [slice(start, None) for start in given])
    hidden, cache = read_rows(model, embedded, given, steps)
    return continue_rows(
        model,
        hidden,
        cache,
        choices,
        steps=steps,
        lengths=[line.length for line in lines],
        guides=guides,
        samples=samples,
        sampling=sampling,
        generator=generator,
    )


def _embed(model: LanguageModel, lines: Sequence[AlignedLine], parts: Sequence[slice]) -> Tensor:
    """Embed a part of each line, padded by nothing: [B, longest part, D]."""
    codebooks, with_conditions = lines[0].ids.shape[1], lines[0].conditions is not None
    longest = max(len(line.ids[part]) for line, part in zip(lines, parts, strict=True))
    ids = np.full((len(lines), longest, codebooks), ABSENT, np.int64)
    conditions = np.full((len(lines), longest), ABSENT, np.int64)
    for row, (line, part) in enumerate(zip(lines, parts, strict=True)):
        if line.ids.shape[1] != codebooks or (line.conditions is not None) != with_conditions:
            raise InputError(f"aligned: line {row} has other codebooks or conditions than line 0")
        ids[row, : len(line.ids[part])] = line.ids[part]
        if line.conditions is not None:
            conditions[row, : len(line.ids[part])] = line.conditions[part]
    # Looked at here, while the ids are on the host: on an accelerator such an id would take the whole process down.
    for name, values, size in (
        ("an id", ids, model.config.vocabulary_size),
        ("a condition", conditions, model.config.conditions),
    ):
        if values.size and not ABSENT <= int(values.min()) <= int(values.max()) < size:
            raise InputError(f"aligned: a line has {name} that is not in 0..{size - 1}")
    device = model.embedding.weight.device
    on_device = torch.from_numpy(conditions).to(device) if with_conditions else None
    return model.embed(torch.from_numpy(ids).to(device), on_device)
