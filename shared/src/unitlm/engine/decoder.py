"""A decoder packed for a CPU: the same functions as `Decoder`'s where decoding needs them, several times as fast."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unitlm.adapt import LoraLinear
from unitlm.cache import KeyValueCache
from unitlm.engine.choosing import pick_best
from unitlm.engine.kernels import (
    Buffers,
    Floats,
    Heads,
    Ints,
    Layers,
    Places,
    Scratch,
    normalize,
    run_layers,
    score_ids,
)
from unitlm.engine.packing import COLUMN_MULTIPLE, GROUP, pack, round_up
from unitlm.engine.team import TEAM, Member, choose_members
from unitlm.errors import InputError
from unitlm.language_model import Precision
from unitlm.model import Decoder, rotary_angles
from unitlm.sampling import Choices


class PackedDecoder:
    """A causal decoder without stages whose steps run in compiled code.

    It reads, writes and scores through a `KeyValueCache` in float32, like the decoder it was made from, and goes
    wherever that goes: `unitlm.generate`, `aligned`, `drafts`, `beam` and `scoring` take either.

    Attributes:
        decoder: The decoder, for whatever is not decoding. Later changes of its layers are not seen here.
        config: Its shape.
        precision: Of the packed weights; inputs and sums are float32. With 8-bit weights, on processors that multiply
            integers, inputs have 16 bits and sums are exact (AVX-512 VNNI), or exact within 512 columns (AVX2).
    """

    def __init__(self, decoder: Decoder, precision: Precision) -> None:
        """Pack the weights of a decoder.

        Args:
            decoder: On the CPU, causal, without stages, in evaluation mode.
            precision: `fp32`, `bf16` or `int8`.

        Raises:
            InputError: The decoder is not of that kind.
        """
        config = decoder.config
        if not config.causal or config.stages or decoder.embedding.weight.device.type != "cpu":
            raise InputError("packed decoder: only a causal decoder without stages, on the CPU, can be packed")
        self.decoder, self.config, self.precision = decoder, config, precision
        self._heads = Heads(config.heads, config.key_value_heads, config.head_width)
        self._layers = Layers(
            attention_norm=_norms(decoder, "attention_norm"),
            query_key_value=pack(_projections(decoder, "attention.query_key_value"), precision),
            output=pack(_projections(decoder, "attention.output"), precision),
            feed_forward_norm=_norms(decoder, "feed_forward_norm"),
            gate_up=pack(_projections(decoder, "feed_forward.gate_up"), precision),
            down=pack(_projections(decoder, "feed_forward.down"), precision),
        )
        self._inner = (config.heads * config.head_width, config.feed_forward_width)
        projections = (self._layers.query_key_value, self._layers.output, self._layers.gate_up, self._layers.down)
        self._weights = sum(matrix.weights.size for matrix in projections)
        self._norm = _array(decoder.norm.weight)
        self._head = pack([decoder.head.weight], precision)
        self._table = _array(decoder.embedding.weight)
        self._cosines, self._sines = self._angles(0)

    @property
    def embedding(self) -> nn.Embedding:
        """The decoder's embedding."""
        return self.decoder.embedding

    def embed(self, ids: Tensor, conditions: Tensor | None = None) -> Tensor:
        """As `Decoder.embed`, in float32."""
        return self.decoder.embed(ids, conditions).float()

    def lookup(self, ids: Ints) -> Floats:
        """Embeddings [M, D] of ids [M] of the vocabulary."""
        return self._table[ids]

    @torch.inference_mode()
    def transform(
        self,
        hidden: Tensor,
        *,
        lengths: Sequence[int] | None = None,
        prompt: Tensor | None = None,
        cache: KeyValueCache,
    ) -> Tensor:
        """As `Decoder.transform`: run the blocks over embedded input [B, S, D] behind what `cache` holds.

        Args:
            hidden: Embedded input.
            lengths: How many steps of each row are real; all of them by default. States of others are zero.
            prompt: For a prefix LM, which positions are prompt, bool [B, S]; needed where the cache is empty.
            cache: Of float32; this call's keys and values are written, the caller advances it.

        Returns:
            Hidden states [B, S, D], normalised.

        Raises:
            InputError: The tokens do not fit into the cache, or a prompt is missing or comes late.
        """
        if lengths is None:
            places = self._places(hidden.shape[0], hidden.shape[1], prompt, cache)
            return torch.from_numpy(self.run(hidden.flatten(0, 1).numpy(), places, cache)).view(hidden.shape)
        real, states = self._run_real(hidden, lengths, prompt, cache)
        padded = np.zeros(hidden.shape, np.float32)
        padded[real] = states
        return torch.from_numpy(padded)

    @torch.inference_mode()
    def read(
        self, hidden: Tensor, lengths: Sequence[int], *, prompt: Tensor | None = None, cache: KeyValueCache
    ) -> Tensor:
        """As `transform`, but only of each row's first `lengths` steps, and only the state of the last one: [B, D]."""
        _, states = self._run_real(hidden, lengths, prompt, cache)
        return torch.from_numpy(states[np.cumsum(lengths) - 1])

    def _run_real(
        self, hidden: Tensor, lengths: Sequence[int], prompt: Tensor | None, cache: KeyValueCache
    ) -> tuple[NDArray[np.bool_], Floats]:
        """Run each row's first steps; which of [B, S] they are, and the states [M, D] of all of them in order."""
        places = self._places(hidden.shape[0], hidden.shape[1], prompt, cache)
        real = np.arange(hidden.shape[1]) < np.array(lengths)[:, None]
        chosen = real.reshape(-1)
        places = Places(*(each[chosen] for each in places))
        return real, self.run(hidden.numpy()[real], places, cache)

    def _places(self, batch: int, steps: int, prompt: Tensor | None, cache: KeyValueCache) -> Places:
        """Where `steps` new positions of each row stand."""
        if not self.config.prefix_lm:
            prompt = None
        elif prompt is None and cache.extent == 0:
            raise InputError("a prefix LM has to know which positions are prompt (prompt=...)")
        cache.check(steps, prompt)
        slots = cache.lengths.numpy()[:, None] + np.arange(steps)  # [B, S]
        visible = slots + 1
        if prompt is not None:  # the positions of a prompt see all of it
            visible = np.where(prompt.numpy(), np.maximum(visible, prompt.sum(dim=1).numpy()[:, None]), visible)
        return place(cache, np.repeat(np.arange(batch), steps), slots.reshape(-1), visible.reshape(-1))

    def run(self, hidden: Floats, places: Places, cache: KeyValueCache) -> Floats:
        """Run the blocks over embedded positions [M, D], which are left as they are; hidden states [M, D]."""
        if cache.capacity > len(self._cosines):
            self._cosines, self._sines = self._angles(cache.capacity)
        embedded = np.ascontiguousarray(hidden, np.float32)
        epsilon, buffers = self.config.norm_epsilon, self._buffers(len(embedded))
        keys, values = cache.keys.numpy(), cache.values.numpy()

        def run_as(member: Member) -> Floats:
            return run_layers(
                self._layers,
                self._heads,
                self.config.feed_forward_width,
                epsilon,
                embedded,
                places,
                self._cosines,
                self._sines,
                keys,
                values,
                buffers,
                member,
            )

        stream: Floats = TEAM.run(choose_members(len(embedded) * self._weights), run_as)
        normalize(stream, self._norm, epsilon, stream)
        return stream

    def _buffers(self, positions: int) -> Buffers:
        """Memory for so many positions."""
        layers = self._layers
        wide = [len(matrix.weights[0]) * GROUP for matrix in (layers.query_key_value, layers.output, layers.gate_up)]
        projected, update, gate_up = (np.empty((positions, width), np.float32) for width in wide)
        padded = [round_up(width, COLUMN_MULTIPLE) for width in self._inner]
        attended, gated = (np.zeros((positions, width), np.float32) for width in padded)
        scratch = make_scratch(positions, max(self.config.width, *self._inner))
        return Buffers(projected, attended, update, gate_up, gated, scratch)

    def score(self, hidden: Tensor, choices: Choices) -> Tensor:
        """Logits [..., N] of what may be chosen, for hidden states [..., D]."""
        flat = np.ascontiguousarray(hidden.numpy().reshape(-1, hidden.shape[-1]))
        scores = torch.from_numpy(self.score_array(flat, choices))
        return scores.view(*hidden.shape[:-1], scores.shape[1])

    def best(self, hidden: Tensor, choices: Choices) -> tuple[Tensor, Tensor]:
        """The most probable columns [M] for hidden states [M, D], and their log-probabilities [M] in nats."""
        columns, gains = pick_best(self.score_array(hidden.numpy(), choices))
        return torch.from_numpy(columns), torch.from_numpy(gains)

    def score_array(self, hidden: Floats, choices: Choices) -> Floats:
        """The same for arrays [M, D]."""
        end = -1 if choices.end is None else choices.end
        groups = -(-choices.stop // GROUP) - choices.start // GROUP
        wide = np.empty((len(hidden), groups * GROUP), np.float32)
        scores = np.empty((len(hidden), choices.stop - choices.start + (end >= 0)), np.float32)

        scratch = make_scratch(len(hidden), self.config.width)

        def score_as(member: Member) -> None:
            score_ids(self._head, hidden, choices.start, choices.stop, end, wide, scores, scratch, member)

        TEAM.run(choose_members(wide.size * self.config.width), score_as)
        return scores

    def _angles(self, capacity: int) -> tuple[Floats, Floats]:
        """Cosines and sines [T, C / 2] for at least `capacity` positions."""
        positions = torch.arange(max(1024, capacity)).unsqueeze(0)
        half = self.config.head_width // 2
        tables = rotary_angles(positions, self.config.head_width, self.config.rope_base, torch.float32)
        cosines, sines = (table[0, 0, :, :half].contiguous().numpy() for table in tables)
        return cosines, sines


def place(cache: KeyValueCache, rows: Ints, slots: Ints, visible: Ints) -> Places:
    """Positions at slots of the cache's rows, which see so many slots each; int64 [M] each."""
    return Places(rows, slots, visible, cache.homes.numpy()[rows], cache.shared.numpy()[rows])


def make_scratch(positions: int, width: int) -> Scratch:
    """Memory in which so many inputs of at most that width are prepared."""
    data = np.empty((positions, 2 * round_up(width, COLUMN_MULTIPLE)), np.uint8)
    return Scratch(data, np.empty(positions, np.float32))


def _array(tensor: Tensor) -> Floats:
    return tensor.detach().float().contiguous().numpy()


def _norms(decoder: Decoder, name: str) -> Floats:
    return np.stack([_array(layer.get_submodule(name).get_parameter("weight")) for layer in decoder.layers])


def _projections(decoder: Decoder, name: str) -> list[Tensor]:
    """A projection's weight in every layer, with its low-rank update folded in."""
    modules = [layer.get_submodule(name) for layer in decoder.layers]
    return [(one.merged() if isinstance(one, LoraLinear) else one).get_parameter("weight") for one in modules]
