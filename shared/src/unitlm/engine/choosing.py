"""Choosing units from scores in compiled code: what `unitlm.sampling` does, without many small tensor operations."""

from __future__ import annotations

import math

import numpy as np
import torch

from unitlm.engine.compiled import compiled
from unitlm.engine.kernels import Floats, Ints, soften
from unitlm.sampling import Sampling

_NO_NOISE = np.empty((0, 0), np.float32)
# The bits of positive floats are ordered as the floats are, and those of 1.0 bound all probabilities.
_BITS_OF_ONE = int(np.float32(1.0).view(np.int32))
_TINY = np.finfo(np.float32).tiny


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
def draw_one(weights: Floats, noise: Floats) -> int:
    """The largest of weight / noise: a draw by weights if the noise is exponential."""
    best, largest = 0, np.float32(-1.0)
    for column in range(weights.shape[0]):
        value = weights[column] / max(noise[column], np.float32(_TINY))
        if value > largest:
            best, largest = column, value
    return best


@compiled
def draw_columns(
    scores: Floats,
    noise: Floats,
    again: Floats,
    recent: Ints,
    temperature: float,
    top_k: int,
    top_p: float,
    most_repeated: float,
) -> tuple[Ints, Floats]:
    """Draw a column for each row of scores [B, N], and its log-probability at temperature 1.

    Columns that tie at the edge of `top_p` all stay.

    Args:
        scores: Logits [B, N].
        noise: Exponential noise [B, N].
        again: The same for second draws, [0, 0] for none.
        recent: Columns chosen last [B, W].
        temperature: As in `Sampling`.
        top_k: The same.
        top_p: The same.
        most_repeated: How often a column may be among the recent ones before it is drawn again.
    """
    columns, gains = np.empty(scores.shape[0], np.int64), np.empty(scores.shape[0], np.float32)
    weights, ones = np.empty(scores.shape[1], np.float32), np.ones(scores.shape[1], np.float32)
    for row in range(scores.shape[0]):
        largest = scores[row].max()
        weights[:] = scores[row]
        soften(weights, np.float32(1.0 / temperature))
        if 0 < top_k < weights.shape[0]:
            keep_from(weights, find_cut(weights, ones, float(top_k)))
        if top_p < 1.0:
            keep_from(weights, find_cut(weights, weights, top_p * float(weights.sum())))
        column = draw_one(weights, noise[row])
        if again.shape[0]:
            repeated = 0
            for one in recent[row]:
                repeated += one == column
            if repeated > most_repeated:
                weights[:] = scores[row]
                soften(weights, np.float32(1.0 / temperature))
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
    noise, again = _exponential(scores.shape, generator), _NO_NOISE
    window = np.empty((len(scores), 0), np.int64)
    if sampling.repetition_window and recent is not None:
        window, again = recent, _exponential(scores.shape, generator)
    return draw_columns(
        scores,
        noise,
        again,
        window,
        sampling.temperature,
        sampling.top_k,
        sampling.top_p,
        sampling.repetition_threshold * sampling.repetition_window,
    )


def _exponential(shape: tuple[int, ...], generator: torch.Generator | None) -> Floats:
    return torch.empty(shape).exponential_(generator=generator).numpy()
