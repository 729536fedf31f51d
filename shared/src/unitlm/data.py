"""Shuffled, packed batches out of token shards, with a position that resumes exactly.

Documents are packed whole into rows of fixed length (never cut: a task without its prompt teaches nothing); attention
does not cross from one to the next because each has its own segment number. A document that fits no row of the batch
at hand waits for the next one. Everything follows from a `DataPosition`: two runs that start from equal positions see
equal batches, and every process packs the same global batch and takes its own rows of it, so the batches do not depend
on the number of processes. (Packing costs about a microsecond a token; what it saves is a protocol between processes.)

Letters in shapes: B row, S sequence step, K codebook, N example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from unitlm.errors import InputError
from unitlm.model import ABSENT
from unitlm.shards import Example, Shard, ShardSet

Address: TypeAlias = tuple[int, int]
"""Where an example lies: its shard's number and its row there."""


@dataclass(frozen=True)
class Packing:
    """How examples become batches.

    Attributes:
        rows: Rows B of the global batch.
        length: Steps S of a row.
        shifted: Whether a position's target is the next id (a causal model) or its own (a bidirectional one).
        waiting: How many examples may wait for a later batch before a batch is closed with gaps.
        mixed_shards: How many shards are read together and shuffled as one. More mix better and take more memory.

    Raises:
        InputError: A value is out of range.
    """

    rows: int
    length: int
    shifted: bool = True
    waiting: int = 64
    mixed_shards: int = 4

    def __post_init__(self) -> None:
        for name in ("rows", "length", "waiting", "mixed_shards"):
            if getattr(self, name) < 1:
                raise InputError(f"packing: {name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class DataPosition:
    """Where a pass over the data stands; small enough for a line of JSON.

    Attributes:
        seed: Seed of all shuffles.
        epoch: Passes completed.
        cursor: Examples read of the current pass.
        waiting: (shard, row) of the examples that were read and still wait for a row with room, the oldest first.
    """

    seed: int
    epoch: int = 0
    cursor: int = 0
    waiting: tuple[Address, ...] = ()


@dataclass(frozen=True)
class Batch:
    """Packed documents. Padding has segment `ABSENT`, target `ABSENT` and weight 0.

    Attributes:
        ids: Input ids, int64 [B, S], or [B, S, K] with several codebooks.
        targets: What to predict at each position, int64 of the shape of `ids`.
        weights: Weight of each position's loss, float32 [B, S].
        segments: Number of the document within its row, int64 [B, S].
        positions: Step within its document, int64 [B, S].
        conditions: Condition ids, int64 [B, S], or None.
    """

    ids: Tensor
    targets: Tensor
    weights: Tensor
    segments: Tensor
    positions: Tensor
    conditions: Tensor | None

    def rows(self, start: int, stop: int) -> Batch:
        """The rows from `start` to `stop`."""
        return self._map(lambda tensor: tensor[start:stop])

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def _map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return Batch(
            ids=change(self.ids),
            targets=change(self.targets),
            weights=change(self.weights),
            segments=change(self.segments),
            positions=change(self.positions),
            conditions=None if self.conditions is None else change(self.conditions),
        )


class Packer:
    """Reads shards in shuffled order and packs their examples."""

    def __init__(self, shards: ShardSet, packing: Packing) -> None:
        """Check that every example fits.

        Raises:
            InputError: A shard holds an example that is longer than a row.
        """
        room = packing.length + packing.shifted
        for info in shards.infos:
            if info.longest > room:
                raise InputError(f"{info.path}: an example has {info.longest} ids, a row has room for {room}")
        self._shards, self._packing = shards, packing

    def batches(self, position: DataPosition, *, epochs: int | None = None) -> Iterator[tuple[Batch, DataPosition]]:
        """Pack from `position` on.

        Args:
            position: Where to start.
            epochs: Stop after this many passes over the data, counted from the very first; never when not given.

        Yields:
            A batch, and the position behind it. The last batch of a bounded pass may have empty rows.
        """
        waiting = [(address, self._shards.load(address[0])[address[1]]) for address in position.waiting]
        stream = self._read(position, epochs)
        while True:
            rows = _Rows(self._packing, self._shards)
            waiting = [(address, example) for address, example in waiting if not rows.place(example)]
            while len(waiting) < self._packing.waiting and not rows.full:
                item = next(stream, None)
                if item is None:
                    break
                address, example, position = item
                if not rows.place(example):
                    waiting.append((address, example))
            if rows.empty:
                return
            position = replace(position, waiting=tuple(address for address, _ in waiting))
            yield rows.batch(), position

    def _read(self, position: DataPosition, epochs: int | None) -> Iterator[tuple[Address, Example, DataPosition]]:
        """Examples from `position` on, each with the position behind it."""
        while epochs is None or position.epoch < epochs:
            for address, example in self._read_epoch(position):
                position = replace(position, cursor=position.cursor + 1)
                yield address, example, position
            position = replace(position, epoch=position.epoch + 1, cursor=0)

    def _read_epoch(self, position: DataPosition) -> Iterator[tuple[Address, Example]]:
        """Examples of `position`'s pass from its cursor on, each with its (shard, row)."""
        infos, mixed = self._shards.infos, self._packing.mixed_shards
        order = np.random.default_rng([position.seed, position.epoch]).permutation(len(infos))
        skip = position.cursor
        for start in range(0, len(order), mixed):
            group = [int(shard) for shard in order[start : start + mixed]]
            rows = sum(infos[shard].rows for shard in group)
            if skip >= rows:  # a finished group is stepped over without being read
                skip -= rows
                continue
            loaded: dict[int, Shard] = {shard: self._shards.load(shard) for shard in group}
            addresses = [(shard, row) for shard in group for row in range(infos[shard].rows)]
            shuffle = np.random.default_rng([position.seed, position.epoch, start + 1]).permutation(rows)
            for index in shuffle[skip:]:
                shard, row = addresses[index]
                yield (shard, row), loaded[shard][row]
            skip = 0


class _Rows:
    """A batch being filled."""

    def __init__(self, packing: Packing, shards: ShardSet) -> None:
        shape = (packing.rows, packing.length)
        many = shards.codebooks > 1
        unit_shape = (*shape, shards.codebooks) if many else shape
        self._shifted, self._length = packing.shifted, packing.length
        # A lone id has to be one the embedding knows; its segment and weight say that it is padding.
        self._ids = np.full(unit_shape, ABSENT if many else 0, np.int64)
        self._targets = np.full(unit_shape, ABSENT, np.int64)
        self._weights = np.zeros(shape, np.float32)
        self._segments = np.full(shape, ABSENT, np.int64)
        self._positions = np.zeros(shape, np.int64)
        self._conditions = np.full(shape, ABSENT, np.int64) if shards.conditions else None
        self._used = [0] * packing.rows
        self._documents = [0] * packing.rows

    @property
    def empty(self) -> bool:
        return not any(self._used)

    @property
    def full(self) -> bool:
        return min(self._used) == self._length

    def place(self, example: Example) -> bool:
        """Put `example` into the fullest row that still has room for it; say whether there was one."""
        length = len(example.ids) - self._shifted
        fitting = [row for row, used in enumerate(self._used) if used + length <= self._length]
        if not fitting:
            return False
        row = max(fitting, key=lambda row: self._used[row])
        span = slice(self._used[row], self._used[row] + length)
        ahead = int(self._shifted)
        self._ids[row, span] = example.ids[:length]
        self._targets[row, span] = example.ids[ahead:]
        self._weights[row, span] = example.loss_mask[ahead:]
        self._segments[row, span] = self._documents[row]
        self._positions[row, span] = np.arange(length)
        if self._conditions is not None and example.conditions is not None:
            self._conditions[row, span] = example.conditions[:length]
        self._used[row] += length
        self._documents[row] += 1
        return True

    def batch(self) -> Batch:
        return Batch(
            ids=torch.from_numpy(self._ids),
            targets=torch.from_numpy(self._targets),
            weights=torch.from_numpy(self._weights),
            segments=torch.from_numpy(self._segments),
            positions=torch.from_numpy(self._positions),
            conditions=None if self._conditions is None else torch.from_numpy(self._conditions),
        )
