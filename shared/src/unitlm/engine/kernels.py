"""One step of a decoder in compiled code: all layers for a few new positions, and the scores of what may follow.

A position is one new token of one row. Positions of many rows, or many of one row (a prompt, a draft), go through
together, so that weights are read once for all of them. What a position computes does not depend, to the last bit, on
which others go through with it.

Compiled for the types it meets at first use, which takes 5 to 15 s once for a precision, and kept on disk.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from unitlm.engine.attention_tiles import SLOTS, make_blend, score_slots
from unitlm.engine.compiled import compiled
from unitlm.engine.packing import COLUMN_MULTIPLE, GROUP, INPUT_SHIFT, Matrix
from unitlm.engine.team import Member, meet, share
from unitlm.engine.tiles import has_pairs, has_vnni, make_tile
from unitlm.engine.vector_code import LANES

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

_GROUP_BYTES = 4 * GROUP
# Positions of a long prompt that are multiplied before the next are: so many inputs stay in the second-level cache.
_BLOCK = 60
_one, _two, _four, _six = make_tile(1), make_tile(2), make_tile(4), make_tile(6)
_blend_one, _blend_four = make_blend(1), make_blend(4)
_LOG2_E = np.float32(math.log2(math.e))
# Taylor's series of 2**x at 0, to the sixth power: within 1e-7 for |x| <= 1/2.
_E2 = tuple(np.float32(math.log(2) ** power / math.factorial(power)) for power in range(7))
_LOWEST = np.float32(-87.0)  # exp of less is no normal float32


class Layers(NamedTuple):
    """Weights of all layers L; norms are [L, D]."""

    attention_norm: Floats
    query_key_value: Matrix
    output: Matrix
    feed_forward_norm: Floats
    gate_up: Matrix
    down: Matrix


class Heads(NamedTuple):
    """Query heads H, key/value heads G, width C of one."""

    queries: int
    groups: int
    width: int


class Scratch(NamedTuple):
    """Where inputs of 8-bit weights are prepared, for M positions.

    Attributes:
        data: uint8 [M, 2 * K] for the widest inputs.
        scales: What 16-bit integers are multiplied by, float32 [M].
    """

    data: NDArray[np.uint8]
    scales: Floats


class Buffers(NamedTuple):
    """What the members of a team write for each other, for M positions: projections [M, N], and inputs of the next.

    Attributes:
        projected: Queries, keys and values.
        attended: What attention gives, padded by zeros.
        update: What is added to the residual stream.
        gate_up: Gates and what they let through.
        gated: Their product, padded by zeros.
        scratch: For whatever is multiplied.
    """

    projected: Floats
    attended: Floats
    update: Floats
    gate_up: Floats
    gated: Floats
    scratch: Scratch


class Places(NamedTuple):
    """Where each of M positions stands, int64 [M] each.

    Attributes:
        rows: Its row of the cache.
        slots: Its slot there, which is also its rotary position.
        visible: How many slots of its row it sees.
        homes: The row in which the first of them lie (`unitlm.cache`).
        shared: How many those are, a multiple of `SLOTS`; 0 where all lie in its own row.
    """

    rows: Ints
    slots: Ints
    visible: Ints
    homes: Ints
    shared: Ints


@compiled
def exponential(x: np.float32) -> np.float32:
    """exp(x) for x <= 0 in float32 arithmetic that compilers turn into vector code."""
    power = max(x, _LOWEST) * _LOG2_E
    whole = np.int32(power - np.float32(0.5))
    part = power - np.float32(whole)
    value = _E2[6]
    value = value * part + _E2[5]
    value = value * part + _E2[4]
    value = value * part + _E2[3]
    value = value * part + _E2[2]
    value = value * part + _E2[1]
    value = value * part + _E2[0]
    return value * np.int32(np.int32(whole + np.int32(127)) << np.int32(23)).view(np.float32)


@compiled
def normalize(x: Floats, weight: Floats, epsilon: float, out: Floats) -> None:
    """RMSNorm of x [M, D]; `out` may be wider."""
    width = weight.shape[0]
    for position in range(x.shape[0]):
        squares = np.float32(0.0)
        for column in range(width):
            squares += x[position, column] * x[position, column]
        scale = np.float32(1.0 / math.sqrt(squares / np.float32(width) + np.float32(epsilon)))
        for column in range(width):
            out[position, column] = x[position, column] * scale * weight[column]


@compiled
def split_bytes(x: Floats, scratch: Scratch, member: Member) -> NDArray[np.uint8]:
    """Inputs [M, K] as 16-bit integers shifted up to be positive: high bytes, then low bytes [M, 2 * K].

    A member does its part of the positions; scales go into the scratch.
    """
    columns = x.shape[1]
    begin, behind = share(x.shape[0], member)
    for position in range(begin, behind):
        factor = scale_input(x[position], scratch.scales, position)
        high, low = scratch.data[position, :columns], scratch.data[position, columns : 2 * columns]
        for column in range(columns):
            # Half is added so that cutting off the fraction rounds to the nearest.
            shifted = np.int32(x[position, column] * factor + np.float32(256 * INPUT_SHIFT + 0.5))
            high[column] = np.uint8(np.int32(shifted >> np.int32(8)))
            low[column] = np.uint8(np.int32(shifted & np.int32(255)))
    return scratch.data


@compiled
def pair_columns(x: Floats, scratch: Scratch, member: Member) -> NDArray[np.int16]:
    """Inputs [M, K] as 16-bit integers, of each four columns the even ones first.

    A member does its part of the positions; scales go into the scratch.
    """
    begin, behind = share(x.shape[0], member)
    paired = scratch.data.view(np.int16)
    for position in range(begin, behind):
        factor = scale_input(x[position], scratch.scales, position)
        for word in range(0, x.shape[1], 4):
            for place in range(4):
                value = x[position, word + place] * factor
                # Cutting off the fraction then rounds to the nearest.
                value += np.float32(0.5) if value >= 0 else np.float32(-0.5)
                paired[position, word + (place >> 1) + 2 * (place & 1)] = np.int16(np.int32(value))
    return paired


@compiled
def scale_input(x: Floats, scales: Floats, position: int) -> np.float32:
    """What makes 16-bit integers of an input [K]; its inverse becomes the position's scale."""
    largest = np.float32(1e-30)
    for column in range(x.shape[0]):
        largest = max(largest, abs(x[column]))
    scales[position] = largest / np.float32(32767.0)
    return np.float32(32767.0) / largest


def _prepare(weights: Any, x: Any, scratch: Any, member: Any) -> Any:
    """What a tile reads as input for weights of this type; decided when it is compiled."""


@overload(_prepare, strict=False)
def _prepare_for(weights: Any, x: Any, scratch: Any, member: Any) -> Callable[..., Any]:  # noqa: ARG001 - numba's names
    if weights.dtype != types.int8 or not (has_vnni() or has_pairs()):
        return lambda weights, x, scratch, member: x  # noqa: ARG005
    prepare: Any = split_bytes if has_vnni() else pair_columns

    def together(weights: Any, x: Any, scratch: Any, member: Any) -> Any:  # noqa: ARG001
        prepared = prepare(x, scratch, member)
        meet(member)
        return prepared

    return together


@compiled
def multiply(matrix: Matrix, layer: int, first: int, x: Floats, y: Floats, scratch: Scratch, member: Member) -> None:
    """Write x @ matrix[layer].T for x [M, K], starting at group `first`, as far as y [M, N] reaches.

    A member does its part of the groups. All have to have met since the scratch was last used.
    """
    weights, scales, sums = matrix.weights[layer], matrix.scales[layer], matrix.sums[layer]
    words = weights.shape[2]
    inputs = _prepare(weights, x, scratch, member)
    weights_at, scales_at, sums_at = weights.ctypes.data, scales.ctypes.data, sums.ctypes.data
    inputs_at, input_stride, output_stride = inputs.ctypes.data, inputs.strides[0], y.strides[0]
    begin, behind = share(y.shape[1] // GROUP, member)
    for block in range(0, x.shape[0], _BLOCK):
        stop = min(block + _BLOCK, x.shape[0])
        for column in range(begin, behind):
            group, position = first + column, block
            while position < stop:
                operands = (
                    weights_at + group * words * _GROUP_BYTES,
                    words,
                    scales_at + group * _GROUP_BYTES,
                    sums_at + group * _GROUP_BYTES,
                    inputs_at + position * input_stride,
                    input_stride,
                    scratch.scales.ctypes.data + 4 * position,
                    y.ctypes.data + column * _GROUP_BYTES + position * output_stride,
                    output_stride,
                )
                if stop - position >= 6:
                    _six(weights, operands)
                    position += 6
                elif stop - position >= 4:
                    _four(weights, operands)
                    position += 4
                elif stop - position >= 2:
                    _two(weights, operands)
                    position += 2
                else:
                    _one(weights, operands)
                    position += 1


@compiled
def turn_and_store(
    projected: Floats,
    heads: Heads,
    places: Places,
    cosines: Floats,
    sines: Floats,
    keys: Floats,
    values: Floats,
    member: Member,
) -> None:
    """Rotate queries and keys in `projected` [M, (H + 2G) * C] in place; copy keys and values to [B, G, T, C].

    A member does so for its part of the heads of all positions.
    """
    half, turned = heads.width // 2, heads.queries + heads.groups
    begin, behind = share(projected.shape[0] * turned, member)
    for item in range(begin, behind):
        position, head = item // turned, item % turned
        row, slot = places.rows[position], places.slots[position]
        start = head * heads.width
        for column in range(half):
            cosine, sine = cosines[slot, column], sines[slot, column]
            left = projected[position, start + column]
            right = projected[position, start + half + column]
            projected[position, start + column] = left * cosine - right * sine
            projected[position, start + half + column] = right * cosine + left * sine
        group = head - heads.queries
        if group >= 0:
            value_start = start + heads.groups * heads.width
            for column in range(heads.width):
                keys[row, group, slot, column] = projected[position, start + column]
                values[row, group, slot, column] = projected[position, value_start + column]


@compiled
def score(query: Floats, keys: Floats, visible: int, scores: Floats) -> None:
    """Products of a query [C] with the first `visible` of keys [T, C]."""
    width = query.shape[0]
    vectors = width // SLOTS
    whole = visible // SLOTS * SLOTS
    for slot in range(0, whole, SLOTS):
        key_at = keys.ctypes.data + slot * keys.strides[0]
        score_slots(keys, (query.ctypes.data, key_at, scores.ctypes.data + 4 * slot, keys.strides[0], vectors))
        for column in range(vectors * SLOTS, width):
            for other in range(slot, slot + SLOTS):
                scores[other] += query[column] * keys[other, column]
    for slot in range(whole, visible):
        total = np.float32(0.0)
        for column in range(width):
            total += query[column] * keys[slot, column]
        scores[slot] = total


@compiled
def soften(scores: Floats, scale: np.float32) -> np.float32:
    """Turn scores into exp(scale * (score - largest)) in place; returns their sum."""
    largest = scores[0]
    for slot in range(scores.shape[0]):
        largest = max(largest, scores[slot])
    total = np.float32(0.0)
    for slot in range(scores.shape[0]):
        scores[slot] = exponential((scores[slot] - largest) * scale)
        total += scores[slot]
    return total


@compiled
def blend(weights: Floats, values: Floats, result: Floats) -> None:
    """Add values [T, C] by the weights of the first slots [at most T] to the result [C]."""
    width, stride = result.shape[0], values.strides[0]
    column = 0
    while column + 4 * LANES <= width:
        at = (weights.ctypes.data, values.ctypes.data + 4 * column, result.ctypes.data + 4 * column)
        _blend_four(values, (at[0], at[1], at[2], stride, weights.shape[0]))
        column += 4 * LANES
    while column + LANES <= width:
        at = (weights.ctypes.data, values.ctypes.data + 4 * column, result.ctypes.data + 4 * column)
        _blend_one(values, (at[0], at[1], at[2], stride, weights.shape[0]))
        column += LANES
    for rest in range(column, width):
        total = result[rest]
        for slot in range(weights.shape[0]):
            total += weights[slot] * values[slot, rest]
        result[rest] = total


@compiled
def attend(
    projected: Floats, heads: Heads, places: Places, keys: Floats, values: Floats, out: Floats, member: Member
) -> None:
    """Attention of the queries in `projected` over what each position sees; `out` is [M, H * C] or wider.

    Members take queries in turn: later positions of a prompt see more. Those of a group of heads come one after the
    other, so that the keys and values that positions share stay in the processor's cache.
    """
    width, positions = heads.width, projected.shape[0]
    in_group = heads.queries // heads.groups
    scale = np.float32(1.0 / math.sqrt(width))
    scores = np.empty(keys.shape[2], np.float32)
    for item in range(member.place, positions * heads.queries, member.members):
        group, rest = item // (positions * in_group), item % (positions * in_group)
        position, head = rest // in_group, group * in_group + rest % in_group
        row, home = places.rows[position], places.homes[position]
        visible, shared = places.visible[position], places.shared[position]
        start, stop = head * width, (head + 1) * width
        query, result = projected[position, start:stop], out[position, start:stop]
        score(query, keys[home, group], shared, scores)
        score(query, keys[row, group, shared:], visible - shared, scores[shared:])
        total = soften(scores[:visible], scale)
        result[:] = np.float32(0.0)
        blend(scores[:shared], values[home, group], result)
        blend(scores[shared:visible], values[row, group, shared:], result)
        for column in range(width):
            result[column] /= total


@compiled
def gate(gate_up: Floats, inner: int, out: Floats, member: Member) -> None:
    """SwiGLU: silu(gate) * up of [M, gate and up]; `out` is [M, inner] or wider. A member's part of the columns."""
    # Whole groups, so that vector code ends where it ends for one member, and rounds alike.
    begin, behind = share(-(-inner // GROUP), member)
    start, stop = begin * GROUP, min(behind * GROUP, inner)
    for position in range(gate_up.shape[0]):
        gates, passing = gate_up[position, start:stop], gate_up[position, inner + start : inner + stop]
        result = out[position, start:stop]
        for column in range(result.shape[0]):
            x = gates[column]
            small = exponential(-abs(x))
            sigmoid = (np.float32(1.0) if x >= 0 else small) / (np.float32(1.0) + small)
            result[column] = x * sigmoid * passing[column]


@compiled
def add(x: Floats, y: Floats) -> None:
    """Add y to x [M, D] in place; y may be wider."""
    for position in range(x.shape[0]):
        for column in range(x.shape[1]):
            x[position, column] += y[position, column]


@compiled
def padded(positions: int, width: int) -> Floats:
    """Inputs of a packed matrix; the padding is zero and stays so."""
    return np.zeros((positions, -(-width // COLUMN_MULTIPLE) * COLUMN_MULTIPLE), np.float32)


@compiled
def run_layers(
    layers: Layers,
    heads: Heads,
    inner: int,
    epsilon: float,
    hidden: Floats,
    places: Places,
    cosines: Floats,
    sines: Floats,
    keys: Floats,
    values: Floats,
    buffers: Buffers,
    member: Member,
) -> Floats:
    """Run all layers over embedded positions, as one of those who do so together.

    Args:
        layers: Packed weights.
        heads: The shape of attention.
        inner: Inner width of SwiGLU.
        epsilon: Of RMSNorm.
        hidden: Embedded positions [M, D]; they stay as they are.
        places: Where they stand.
        cosines: Of the rotary angles by position, [at least T, C / 2].
        sines: The same.
        keys: Of all layers [L, B, G, T, C]; the positions' own are written.
        values: The same.
        buffers: The same for all members.
        member: Which of them this is.

    Returns:
        The residual stream [M, D], the same for all members: adding and normalising it is little work, so each does
        all of it for itself.
    """
    stream = hidden.copy()
    normalized = padded(hidden.shape[0], hidden.shape[1])
    projected, update, gate_up, scratch = buffers.projected, buffers.update, buffers.gate_up, buffers.scratch
    for layer in range(keys.shape[0]):
        normalize(stream, layers.attention_norm[layer], epsilon, normalized)
        multiply(layers.query_key_value, layer, 0, normalized, projected, scratch, member)
        meet(member)
        turn_and_store(projected, heads, places, cosines, sines, keys[layer], values[layer], member)
        meet(member)
        attend(projected, heads, places, keys[layer], values[layer], buffers.attended, member)
        meet(member)
        multiply(layers.output, layer, 0, buffers.attended, update, scratch, member)
        meet(member)
        add(stream, update)
        normalize(stream, layers.feed_forward_norm[layer], epsilon, normalized)
        multiply(layers.gate_up, layer, 0, normalized, gate_up, scratch, member)
        meet(member)
        gate(gate_up, inner, buffers.gated, member)
        meet(member)
        multiply(layers.down, layer, 0, buffers.gated, update, scratch, member)
        meet(member)
        add(stream, update)
    return stream


@compiled
def score_ids(
    head: Matrix,
    hidden: Floats,
    start: int,
    stop: int,
    end: int,
    wide: Floats,
    scores: Floats,
    scratch: Scratch,
    member: Member,
) -> None:
    """Write logits of ids from `start` to before `stop`, and of `end` if it is not negative, for hidden states [M, D].

    Args:
        head: The packed matrix of all ids.
        hidden: Behind the last norm.
        start: First id.
        stop: The id behind the last.
        end: One more id, whose logits come last.
        wide: For those of all groups that the ids belong to; the same for all members.
        scores: Where they go, [M, stop - start, and one more if there is an end].
        scratch: For what is multiplied; the same for all members.
        member: Which of those who work together this is.
    """
    positions, count = scores.shape
    inputs = padded(positions, hidden.shape[1])
    inputs[:, : hidden.shape[1]] = hidden
    first = start // GROUP
    multiply(head, 0, first, inputs, wide, scratch, member)
    meet(member)
    if member.place:
        return
    for position in range(positions):
        for column in range(stop - start):
            scores[position, column] = wide[position, start - first * GROUP + column]
    if end >= 0:
        group = end // GROUP
        if first <= group < -(-stop // GROUP):  # among the groups that were multiplied anyway
            for position in range(positions):
                scores[position, count - 1] = wide[position, end - first * GROUP]
        else:
            narrow = np.empty((positions, GROUP), np.float32)
            multiply(head, 0, group, inputs, narrow, scratch, Member(member.gate, 0, 1))
            for position in range(positions):
                scores[position, count - 1] = narrow[position, end - group * GROUP]
