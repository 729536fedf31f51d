"""Weights in the order in which `unitlm.engine.tiles` reads them, as float32, bf16 or 8-bit integers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unitlm.engine.vector_code import LANES
from unitlm.language_model import Precision

COLUMNS_IN_WORD: dict[Precision, int] = {"fp32": 1, "bf16": 2, "int8": 4}
"""Columns that a 32-bit word holds."""
COLUMN_MULTIPLE = 4
"""Columns are padded to a multiple of this, whatever the precision, so that inputs have one width."""
GROUP = 64
"""Rows of a group, which are multiplied together (`unitlm.engine.tiles` says why so many)."""
LEVELS = 127
"""Largest magnitude of an 8-bit weight; -128 is not used, so that the scale is the same on both sides."""
INPUT_SHIFT = 128
"""What the high byte of an input is shifted up by where bytes are multiplied; sums of rows are stored times this."""


class Matrix(NamedTuple):
    """Matrices [N, K] of all layers; rows are padded by zeros to whole groups, columns to a multiple of 4.

    Attributes:
        weights: [layers, groups, 4 vectors, words, 16 lanes * columns in a word]; float32, bf16 as uint16, or int8.
        scales: What 8-bit weights of a row are multiplied by, float32 [layers, rows]; else [layers, 0].
        sums: Sums of a row's 8-bit weights times `INPUT_SHIFT`, int32 [layers, rows]; else [layers, 0].
    """

    weights: NDArray[np.generic]
    scales: NDArray[np.float32]
    sums: NDArray[np.int32]


def round_up(number: int, multiple: int) -> int:
    """The next multiple that is not below `number`."""
    return -(-number // multiple) * multiple


def pack(layers: Sequence[Tensor], precision: Precision) -> Matrix:
    """Pack one matrix [N, K] a layer, all of one shape.

    8-bit weights are rounded symmetrically, each row by a scale of its own.
    """
    count, (rows, columns) = len(layers), layers[0].shape
    padded_rows, padded_columns = round_up(rows, GROUP), round_up(columns, COLUMN_MULTIPLE)
    in_word = COLUMNS_IN_WORD[precision]
    shape = (count, padded_rows // GROUP, GROUP // LANES, padded_columns // in_word, LANES * in_word)
    kind = {"fp32": np.float32, "bf16": np.uint16, "int8": np.int8}[precision]
    # numpy asks for huge pages where torch does not: with 4 kB pages every few rows would miss the page table's cache.
    weights = np.zeros(shape, kind)
    quantized = padded_rows if precision == "int8" else 0
    scales = np.zeros((count, quantized), np.float32)
    sums = np.zeros((count, quantized), np.int32)
    for layer, tensor in enumerate(layers):
        padded = np.zeros((padded_rows, padded_columns), np.float32)
        padded[:rows, :columns] = tensor.detach().float().numpy()
        values: NDArray[np.generic] = padded
        if precision == "bf16":
            values = torch.from_numpy(padded).to(torch.bfloat16).view(torch.uint16).numpy()
        elif precision == "int8":
            scale = np.maximum(np.abs(padded).max(axis=1), np.finfo(np.float32).tiny) / LEVELS
            values = np.rint(padded / scale[:, None]).astype(np.int8)
            scales[layer] = scale
            sums[layer] = INPUT_SHIFT * values.sum(axis=1, dtype=np.int32)
        grouped = values.reshape(shape[1], shape[2], LANES, shape[3], in_word)
        weights[layer] = grouped.transpose(0, 1, 3, 2, 4).reshape(shape[1:])
    return Matrix(weights, scales, sums)
