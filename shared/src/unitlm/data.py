"""Shuffled, packed batches out of token shards, with a position that resumes exactly.

Documents are packed whole into rows of fixed length (never cut: a task without its prompt teaches nothing); attention
does not cross from one to the next because each has its own segment number. A document that fits no row of the batch
at hand waits for the next one. Everything follows from a `DataPosition`: two runs that start from equal positions see
equal batches. Every process lays out the same global batch, from lengths alone, and fills in its own rows of it only,
so the batches do not depend on the number of processes and no process waits for another.

Letters in shapes: B row, S sequence step, K codebook, N example.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from unitlm.errors import InputError
from unitlm.model import ABSENT
from unitlm.shards import Shard, ShardSet

Item = TypeVar("Item")
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

    @property
    def prompt(self) -> Tensor:
        """Positions before the first learned id of their document, bool [B, S]: what a prefix LM sees both ways."""
        learned = (self.weights > 0).long()
        before = learned.cumsum(dim=1) - learned  # learned earlier in the row
        starts = torch.arange(learned.shape[1], device=learned.device) - self.positions  # of each position's document
        return (before == before.gather(1, starts)) & (self.segments != ABSENT)

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        return Batch(
            ids=self.ids.to(device),
            targets=self.targets.to(device),
            weights=self.weights.to(device),
            segments=self.segments.to(device),
            positions=self.positions.to(device),
            conditions=None if self.conditions is None else self.conditions.to(device),
        )


@dataclass(frozen=True, slots=True)
class Document:
    """An example that has its place: where to read it, and the steps it takes."""

    shard: Shard
    row: int
    length: int


@dataclass(frozen=True)
class Layout:
    """Which documents lie in which row of a global batch.

    Attributes:
        packing: The batch's shape.
        codebooks: Codebooks K of a step.
        conditions: Whether documents carry condition ids.
        rows: The documents of each row, in order.
    """

    packing: Packing
    codebooks: int
    conditions: bool
    rows: tuple[tuple[Document, ...], ...]

    @property
    def tokens(self) -> int:
        """Steps that are not padding."""
        return sum(document.length for row in self.rows for document in row)

    def build(self, start: int = 0, stop: int | None = None) -> Batch:
        """Fill in the rows from `start` to `stop`."""
        chosen = self.rows[start:stop]
        shape, many = (len(chosen), self.packing.length), self.codebooks > 1
        unit_shape = (*shape, self.codebooks) if many else shape
        # A lone id has to be one the embedding knows; its segment and weight say that it is padding.
        ids = np.full(unit_shape, ABSENT if many else 0, np.int64)
        targets = np.full(unit_shape, ABSENT, np.int64)
        weights = np.zeros(shape, np.float32)
        segments = np.full(shape, ABSENT, np.int64)
        positions = np.zeros(shape, np.int64)
        conditions = np.full(shape, ABSENT, np.int64) if self.conditions else None
        ahead = int(self.packing.shifted)
        for row, documents in enumerate(chosen):
            used = 0
            for segment, document in enumerate(documents):
                example, length = document.shard[document.row], document.length
                span = slice(used, used + length)
                ids[row, span] = example.ids[:length]
                targets[row, span] = example.ids[ahead:]
                weights[row, span] = example.loss_mask[ahead:]
                segments[row, span] = segment
                positions[row, span] = np.arange(length)
                if conditions is not None and example.conditions is not None:
                    conditions[row, span] = example.conditions[:length]
                used += length
        return Batch(
            ids=torch.from_numpy(ids),
            targets=torch.from_numpy(targets),
            weights=torch.from_numpy(weights),
            segments=torch.from_numpy(segments),
            positions=torch.from_numpy(positions),
            conditions=None if conditions is None else torch.from_numpy(conditions),
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

    def layouts(self, position: DataPosition, *, epochs: int | None = None) -> Iterator[tuple[Layout, DataPosition]]:
        """Pack from `position` on.

        Args:
            position: Where to start.
            epochs: Stop after this many passes over the data, counted from the very first; never when not given.

        Yields:
            A global batch's layout, and the position behind it. The last one of a bounded pass may have empty rows.
        """
        waiting = [(address, self._document(self._shards.load(address[0]), address[1])) for address in position.waiting]
        stream = self._read(position, epochs)
        while True:
            rows = _Rows(self._packing)
            waiting = [(address, document) for address, document in waiting if not rows.place(document)]
            while len(waiting) < self._packing.waiting and not rows.full:
                item = next(stream, None)
                if item is None:
                    break
                address, document, position = item
                if not rows.place(document):
                    waiting.append((address, document))
            if rows.empty:
                return
            position = replace(position, waiting=tuple(address for address, _ in waiting))
            documents = tuple(map(tuple, rows.documents))
            yield Layout(self._packing, self._shards.codebooks, self._shards.conditions, documents), position

    def _document(self, shard: Shard, row: int) -> Document:
        return Document(shard, row, shard.length(row) - self._packing.shifted)

    def _read(self, position: DataPosition, epochs: int | None) -> Iterator[tuple[Address, Document, DataPosition]]:
        """Documents from `position` on, each with the position behind it."""
        while epochs is None or position.epoch < epochs:
            for address, document in self._read_epoch(position):
                position = replace(position, cursor=position.cursor + 1)
                yield address, document, position
            position = replace(position, epoch=position.epoch + 1, cursor=0)

    def _read_epoch(self, position: DataPosition) -> Iterator[tuple[Address, Document]]:
        """Documents of `position`'s pass from its cursor on, each with its (shard, row)."""
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
                yield (shard, row), self._document(loaded[shard], row)
            skip = 0


class _Rows:
    """A batch being laid out."""

    def __init__(self, packing: Packing) -> None:
        self._length = packing.length
        self._used = np.zeros(packing.rows, np.int64)
        self.documents: list[list[Document]] = [[] for _ in range(packing.rows)]

    @property
    def empty(self) -> bool:
        return not self._used.any()

    @property
    def full(self) -> bool:
        return bool(self._used.min() == self._length)

    def place(self, document: Document) -> bool:
        """Put `document` into the fullest row that still has room for it; say whether there was one."""
        fits = self._used + document.length <= self._length
        if not fits.any():
            return False
        row = int(np.where(fits, self._used, -1).argmax())
        self.documents[row].append(document)
        self._used[row] += document.length
        return True


def read_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, each prepared by a thread while the one before it is in use."""
    end = object()
    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = pool.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, items, end)
            yield cast(Item, item)
