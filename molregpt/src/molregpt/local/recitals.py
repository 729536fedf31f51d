"""The first thing that a model learns: to go on with what it has read before.

What a model of this size is to learn from a few thousand pairs, it learns by heart; that answers can be read from the
neighbours in its context it does not find out (on held-out pairs of ChEBI-20, three neighbours took the loss of a
description from 2.23 to 2.19 nats a piece). Where the same pieces come again and again, and which ones has no reason,
nothing else can be learned: heads that look up what followed last time form within some hundred steps (induction heads,
Olsson et al. 2022, arXiv 2209.11895), and they are then there for the neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from unitlm.shards import Example, write_shards
from unitlm.vocabulary import Vocabulary

ROWS_PER_SHARD = 512

_SHORTEST = 5
"""Pieces of the shortest passage: short ones are learned first, and long ones from those."""

_TIMES = 4
"""How often a passage is said at least."""


def write_recitals(folder: Path, count: int, vocabulary: Vocabulary, longest: int, seed: int) -> tuple[Path, ...]:
    """Write passages of random pieces that are repeated to the end, and learned from their second time on.

    Args:
        folder: Where the Parquet files go.
        count: How many examples.
        vocabulary: Gives the ids; each example keeps to one alphabet.
        longest: Tokens of an example.
        seed: Of the draws; each example's depend on it and its number alone.

    Returns:
        The shards, in order.
    """
    spans = [vocabulary.span(name) for name in vocabulary.alphabets]

    def examples(start: int) -> Iterator[Example]:
        for number in range(start, min(start + ROWS_PER_SHARD, count)):
            chance = np.random.default_rng([seed, number])
            yield make_recital(spans[number % len(spans)], longest, chance, str(number))

    provenance = f"recitals {count} {longest} {seed} {spans}"
    return write_shards(folder, list(range(0, count, ROWS_PER_SHARD)), examples, provenance=provenance)


def make_recital(span: tuple[int, int], longest: int, chance: np.random.Generator, key: str) -> Example:
    """One passage of ids from `span`, its length drawn so that all orders of magnitude are as frequent."""
    most = max(_SHORTEST, longest // _TIMES)
    length = round(float(np.exp(chance.uniform(np.log(_SHORTEST), np.log(most)))))
    passage = chance.integers(*span, length)
    ids = np.resize(passage, longest).astype(np.int32)
    return Example(key, ids, np.arange(longest) >= length)
