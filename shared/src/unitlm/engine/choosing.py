"""Choosing units from scores in compiled code: what `unitlm.sampling` does, without many small tensor operations."""

from __future__ import annotations

import math

import numpy as np
import torch

from unitlm.engine.compiled import compiled
from unitlm.engine.kernels import Floats, Ints, soften
from unitlm.sampling import Sampling

_NONE = np.empty(0, np.float32)
# The bits of positive floats are ordered as the floats are, and those of 1.0 bound all probabilities.
_BITS_OF_ONE = int(np.float32(1.0).view(np.int32))


@compiled
def pick_best(scores: Floats) -> tuple[Ints, Floats]:
    """The best column of each row of scores [B, N], and its log-probability [B]."""
    columns, gains = np.empty(scores.shape[0], np.int64), np.empty(scores.shape[0], np.float32)
    weights = np.empty(scores.shape[1], np.float32)
    for row in range(scores.shape[0]):
        best = 0
        for column in range(scores.shape[1]):
            if scores[row, column] > scores[row, best]:
                best = column
        weights[:] = scores[row]
        columns[row] = best
        gains[row] = -math.log(soften(weights, np.float32(1.0)))
    return columns, gains


@compiled
def find_cut(weights: Floats, masses: Floats, limit: float) -> np.float32:
    """The smallest weight in [0, 1] at which all larger ones have less than `limit` of `masses`; found bit by bit."""
    low, high = 0, _BITS_OF_ONE
    while low < high:
        middle = (low + high) // 2
        cut = np.int32(middle).view(np.float32)
        mass = np.float32(0.0)
        for column in range(weights.shape[0]):
            mass += masses[column] if weights[column] > cut else np.float32(0.0)
        if mass < limit:
            high = middle
        else:
            low = middle + 1
    return np.int32(high).view(np.float32)


@compiled
def keep_from(weights: Floats, cut: np.float32) -> None:
    """Rule out, by weight 0, what weighs less than `cut`."""
    for column in range(weights.shape[0]):
        weights[column] = weights[column] if weights[column] >= cut else np.float32(0.0)


@compiled
def draw_one(weights: Floats, point: np.float32) -> int:
    """Where a number in [0, 1) falls among the cumulated weights: a draw by weights if it is random."""
    total = 0.0
    for column in range(weights.shape[0]):
        total += weights[column]
    wanted = point * total
    last, cumulated = 0, 0.0
    for column in range(weights.shape[0]):
        cumulated += weights[column]
        if cumulated > wanted:
            return column
        if weights[column] > 0:
            last = column
    return last  # the sum in another order was a trifle more


@compiled
def draw_columns(
    scores: Floats,
    points: Floats,
    again: Floats,
    recent: Ints,
    sharpness: float,
    top_k: int,
    top_p: float,
    most_repeated: float,
) -> tuple[Ints, Floats]:
    """Draw a column for each row of scores [B, N], and its log-probability at temperature 1.

    Columns that tie at the edge of `top_p` all stay.

    Args:
        scores: Logits [B, N].
        points: Random numbers in [0, 1), [B].
        again: The same for second draws, empty for none.
        recent: Columns chosen last [B, W].
        sharpness: As in `Sampling`.
        top_k: The same.
        top_p: The same.
        most_repeated: How often a column may be among the recent ones before it is drawn again.
    """
    columns, gains = np.empty(scores.shape[0], np.int64), np.empty(scores.shape[0], np.float32)
    weights, ones = np.empty(scores.shape[1], np.float32), np.ones(scores.shape[1], np.float32)
    for row in range(scores.shape[0]):
        largest = scores[row].max()
        weights[:] = scores[row]
        soften(weights, np.float32(sharpness))
        if 0 < top_k < weights.shape[0]:
            keep_from(weights, find_cut(weights, ones, float(top_k)))
        if top_p < 1.0:
            keep_from(weights, find_cut(weights, weights, top_p * float(weights.sum())))
        column = draw_one(weights, points[row])
        if again.shape[0]:
            repeated = 0
            for one in recent[row]:
                repeated += one == column
            if repeated > most_repeated:
                weights[:] = scores[row]
                soften(weights, np.float32(sharpness))
                column = draw_one(weights, again[row])
        columns[row] = column
        weights[:] = scores[row]
        gains[row] = scores[row, column] - largest - math.log(soften(weights, np.float32(1.0)))
    return columns, gains


def choose_columns(
    scores: Floats, sampling: Sampling, generator: torch.Generator | None, recent: Ints | None
) -> tuple[Ints, Floats]:
    """Choose one column a row, as `unitlm.sampling.choose` does and from the same random numbers.

    Args:
        scores: Logits [B, N].
        sampling: How.
        generator: Source of all randomness; not touched when the temperature is 0.
        recent: Columns [B, W] chosen last, negative where there is none; for repetition-aware sampling.

    Returns:
        Columns [B], and their log-probabilities [B] in nats at temperature 1.
    """
    if sampling.temperature == 0:
        return pick_best(scores)
    points, again = torch.rand(len(scores), generator=generator).numpy(), _NONE
    window = np.empty((len(scores), 0), np.int64)
    if sampling.repetition_window and recent is not None:
        window, again = recent, torch.rand(len(scores), generator=generator).numpy()
    return draw_columns(
        scores,
        points,
        again,
        window,
        sampling.sharpness,
        sampling.top_k,
        sampling.top_p,
        sampling.repetition_threshold * sampling.repetition_window,
    )
