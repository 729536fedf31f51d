"""The key/value cache: allocated once, static shapes, rows of unequal length.

A row's tokens lie in slots 0..length-1. A step writes its keys and values behind each row's length; the caller then
says by `advance` how many of them count. Slots at or beyond a row's length may hold leftovers (padding of a prefill,
rejected drafts): no query sees them, because a query at slot t sees slots up to t only and a slot is always rewritten
before a query reaches it.

Rows that go on from one prompt may share it: `select` then copies it to the first of them only, and code that knows
`homes` and `shared` (`unitlm.engine`) reads it there, so that it comes from memory once for all of them. For everybody
else it is copied to the others as soon as they are written to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from mmap import mmap

import torch
from torch import Tensor

from unitlm.errors import InputError
from unitlm.model import Mask, ModelConfig, pair_up

SHARED_MULTIPLE = 16
"""Slots are shared in so many at a time: compiled attention scores as many together, and where it cuts decides how it
rounds."""

_LEAST_MAPPED = 1 << 20


class KeyValueCache:
    """Keys and values of all layers for a batch of sequences.

    Attributes:
        capacity: Slots per row.
        lengths: Tokens that each row holds, int64 [B], on the device: positions never need a host round trip.
        extent: The host's upper bound on `lengths`; attention reads no further.
        homes: The row in which each row's first slots lie, int64 [B], on the host.
        shared: How many slots those are, int64 [B], on the host; 0 where a row has all of its own.
    """

    def __init__(
        self,
        config: ModelConfig,
        batch: int,
        capacity: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        static: bool = False,
    ) -> None:
        """Allocate [layers, B, G, capacity, C] twice.

        Args:
            config: The model whose cache this is.
            batch: Rows B.
            capacity: The most tokens a row will ever hold.
            device: Where the model runs.
            dtype: The model's activation type.
            static: Attend to all slots at every step, so that shapes never change (CUDA graphs, torch.compile).
                Otherwise only the slots in use are read, which is what a CPU wants.
        """
        shape = (config.layers, batch, config.key_value_heads, capacity, config.head_width)
        self.keys, self.values = (make_zeros(shape, torch.device(device), dtype) for _ in range(2))
        self.capacity = capacity
        self.static = static
        self.lengths = torch.zeros(batch, dtype=torch.int64, device=device)
        self.extent = 0
        # While all rows are known to be equally long, a step is one slice copy instead of a scatter.
        self._aligned = True
        self._slots = torch.arange(capacity, device=device)
        self._share_nothing()

    def write(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store a step's `key` and `value` [B, G, S, C] behind each row; return all slots to attend to [B, G, T, C]."""
        self._own()
        steps = key.shape[2]
        window = self._window(steps)
        keys, values = self.keys[layer], self.values[layer]
        if self._aligned:
            keys[:, :, self.extent : self.extent + steps] = key
            values[:, :, self.extent : self.extent + steps] = value
        else:
            slots = self.lengths.unsqueeze(1) + self._slots[:steps]  # [B, S]
            index = slots[:, None, :, None].expand(key.shape)
            keys.scatter_(2, index, key.to(keys.dtype))  # unlike a slice copy, scatter does not convert (autocast)
            values.scatter_(2, index, value.to(values.dtype))
        return keys[:, :, :window], values[:, :, :window]

    def check(self, steps: int, prompt: Tensor | None = None) -> None:
        """See whether `steps` new tokens a row can come, those in `prompt` [B, S] seeing each other both ways.

        Raises:
            InputError: The tokens do not fit, or a prompt comes when the cache holds something already.
        """
        if self.extent + steps > self.capacity:
            raise InputError(
                f"cache: {self.extent} + {steps} tokens do not fit into {self.capacity} slots; allocate a larger cache"
            )
        if prompt is not None and self.extent:
            raise InputError("cache: a prompt is read in one pass, before everything else")

    def mask(self, steps: int, prompt: Tensor | None = None) -> Mask:
        """The mask for `steps` new tokens a row: slot t is seen by the token that goes to slot t or a later one.

        Args:
            steps: New tokens S a row.
            prompt: Those of them, bool [B, S], that see each other both ways (prefix LM).

        Raises:
            InputError: As for `check`.
        """
        self.check(steps, prompt)
        if prompt is None and self._aligned and not self.static and (steps == 1 or self.extent == 0):
            return Mask(is_causal=steps > 1, allowed=None)  # one token sees all slots; a first prefill is plain causal
        own = self.lengths.unsqueeze(1) + self._slots[:steps]  # [B, S]
        allowed = self._slots[: self._window(steps)] <= own.unsqueeze(-1)  # [B, S, T]
        if prompt is not None:
            allowed[:, :, :steps] |= pair_up(prompt)  # the cache is empty, so token s goes to slot s
        return Mask(is_causal=False, allowed=allowed.unsqueeze(1))

    def advance(self, counts: int | Tensor) -> None:
        """Let the first `counts` of the tokens just written count: one number for all rows, or int64 [B]."""
        self.lengths = self.lengths + counts
        if isinstance(counts, int):
            self.extent += counts
        else:
            self.extent = int(self.lengths.max())
            self._aligned = bool((self.lengths == self.extent).all())

    def truncate(self, lengths: Tensor) -> None:
        """Forget the tokens of each row from `lengths` [B] on."""
        if self._shares and int(lengths.min()) < int(self.shared.max()):  # others may read what a row gives up
            self._own()
        self.lengths = torch.minimum(self.lengths, lengths)
        self.extent = int(self.lengths.max())
        self._aligned = bool((self.lengths == self.extent).all())

    def select(self, rows: Tensor) -> None:
        """Let row i become a copy of the old row `rows[i]` [B'], as beam search and the end of a row need it."""
        self._own()
        self.lengths = self.lengths.index_select(0, rows)
        self._share_nothing()
        if self.lengths.device.type == "cpu":  # where memory is what decoding waits for
            first: dict[int, int] = {}
            homes = [first.setdefault(row, place) for place, row in enumerate(rows.tolist())]
            self.homes = torch.tensor(homes, dtype=torch.int64)
            whole = self.lengths // SHARED_MULTIPLE * SHARED_MULTIPLE
            self.shared = torch.where(self.homes == torch.arange(len(rows)), 0, whole)
            self._shares = bool(self.shared.any())
        self.keys, self.values = self._select(self.keys, rows), self._select(self.values, rows)

    def reorder(self, parents: Tensor, prompts: Sequence[int]) -> None:
        """Let hypothesis i go on as what hypothesis `parents[i]` [H] was, without copying the prompts.

        A hypothesis has one row behind each of V prompts, side by side (B = H * V), and has written as much as the
        others; with one prompt this is `select` of as many rows.

        Args:
            parents: Hypotheses, int64 [H].
            prompts: Tokens of each prompt, V of them.
        """
        written = self.extent - max(prompts)
        for view, first in enumerate(prompts):
            if self._shares and int(self.shared[view :: len(prompts)].max()) > first:
                self._own()  # what lies in another row cannot be copied from this one
            for slots in (self.keys, self.values):
                own = slots[:, view :: len(prompts), :, first : first + written]
                own.copy_(own.index_select(1, parents))

    def copies(self, count: int) -> KeyValueCache:
        """A cache of `count` copies of the first row; this one stays as it is."""
        return self.chosen(torch.zeros(count, dtype=torch.int64, device=self.lengths.device))

    def chosen(self, rows: Tensor) -> KeyValueCache:
        """A cache whose row i is a copy of row `rows[i]` [B']; this one stays as it is."""
        other = copy(self)
        other.select(rows)
        return other

    def _select(self, slots: Tensor, rows: Tensor) -> Tensor:
        """Rows of keys or values; what nobody has written yet and what is shared is not copied."""
        selected = make_zeros((slots.shape[0], len(rows), *slots.shape[2:]), slots.device, slots.dtype)
        sharing = self.shared > 0
        for chosen, first in ((~sharing, 0), (sharing, self._least_shared())):
            places = chosen.nonzero().squeeze(1).to(rows.device)
            part = slots[:, :, :, first : self.extent].index_select(1, rows[places])
            selected[:, :, :, first : self.extent].index_copy_(1, places, part)
        return selected

    def _least_shared(self) -> int:
        return min((count for count in self.shared.tolist() if count), default=0)

    def _own(self) -> None:
        """Give every row the slots that it shares."""
        if not self._shares:
            return
        for row in self.shared.nonzero().squeeze(1).tolist():
            home, count = int(self.homes[row]), int(self.shared[row])
            for slots in (self.keys, self.values):
                slots[:, row, :, :count] = slots[:, home, :, :count]
        self._share_nothing()

    def _share_nothing(self) -> None:
        self.homes = torch.arange(len(self.lengths))
        self.shared = torch.zeros_like(self.homes)
        self._shares = False

    def _window(self, steps: int) -> int:
        return self.capacity if self.static else self.extent + steps


def make_zeros(shape: Sequence[int], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Zeros; on the host, pages that nobody touches are never really taken, which most of a cache's capacity is not."""
    size = math.prod(shape) * dtype.itemsize
    if device.type == "cpu" and size >= _LEAST_MAPPED:
        return torch.frombuffer(mmap(-1, size), dtype=dtype).view(*shape)
    return torch.zeros(tuple(shape), device=device, dtype=dtype)
