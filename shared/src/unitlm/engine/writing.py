"""The loop of `unitlm.generate.continue_rows` for packed decoders: few calls a step, and no tensors in between."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from unitlm.cache import KeyValueCache
from unitlm.engine.choosing import choose_columns
from unitlm.engine.decoder import PackedDecoder, place
from unitlm.generate import Continuation, best_of
from unitlm.sampling import Choices, Sampling


def write_rows(
    model: PackedDecoder,
    hidden: Tensor,
    cache: KeyValueCache,
    choices: Choices,
    *,
    steps: int,
    lengths: Sequence[int] | None,
    guides: Tensor | None,
    samples: int,
    sampling: Sampling,
    generator: torch.Generator | None,
) -> list[Continuation]:
    """Write what follows rows that have been read; arguments and result are those of `continue_rows`.

    A row leaves the batch with the step at which it ends, so random numbers are drawn for open rows only.
    """
    if samples > 1:  # what was read is copied, not read again
        repeated = torch.arange(len(hidden)).repeat_interleave(samples)
        hidden = hidden[repeated]
        cache.select(repeated)
    count = len(hidden)
    states = hidden.numpy()
    read = cache.lengths.numpy()
    columns = np.full((count, steps), -1, np.int64)  # -1 where nothing is written
    scores = np.zeros(count)
    wanted = np.full(count, steps) if lengths is None else np.repeat(np.array(lengths, np.int64), samples)
    ended = (wanted == 0) & (lengths is not None)
    rows = np.flatnonzero(~ended)
    states = states[rows]
    for step in range(steps):
        if not rows.size:
            break
        first = max(0, step - sampling.repetition_window)
        recent = columns[rows, first:step] if sampling.repetition_window else None
        chosen, gains = choose_columns(model.score_array(states, choices), sampling, generator, recent)
        scores[rows] += gains
        ends = np.zeros(len(rows), np.bool_) if choices.end is None else chosen == choices.stop - choices.start
        columns[rows, step] = np.where(ends, -1, chosen)
        if lengths is not None:
            ends |= wanted[rows] == step + 1
        if ends.any():
            ended[rows] |= ends
            rows, chosen = rows[~ends], chosen[~ends]
        if rows.size and step + 1 < steps:
            embedded = model.lookup(chosen + choices.start)
            if guides is not None:
                embedded += guides[rows // samples, step].numpy()
            slots = read[rows] + step
            states = model.run(embedded, place(cache, rows, slots, slots + 1), cache)
    written = [
        Continuation(tuple((row[row >= 0] + choices.start).tolist()), float(score), bool(end))
        for row, score, end in zip(columns, scores, ended, strict=True)
    ]
    return [best_of(written[first : first + samples]) for first in range(0, count, samples)]
