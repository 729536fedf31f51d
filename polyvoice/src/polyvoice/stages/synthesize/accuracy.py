"""Teacher-forced accuracy: how often a synthesis model would have chosen the code that was really spoken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice

from unitlm.model import Decoder
from unitlm.shards import Example, ShardSet

HitCounter = Callable[[Decoder, Example], Mapping[int, tuple[int, int]]]
"""How many codes of an example a model would have chosen, all others being true, and of how many: for each level."""

_HELD_OUT_EXAMPLES = 256


def level_accuracies(count: HitCounter, model: Decoder, examples: Iterable[Example]) -> dict[int, float]:
    """Share of codes that the model gets right when everything before (level 0) or below (the others) is the truth.

    Args:
        count: of either model of the stage.
        model: the model.
        examples: in its ids; only what is learned counts, which in held-out shards is the target.

    Returns:
        Level to a share in 0..1, for the levels that the model writes.
    """
    right: dict[int, int] = {}
    all_: dict[int, int] = {}
    for example in examples:
        for level, (hits, total) in count(model, example).items():
            right[level], all_[level] = right.get(level, 0) + hits, all_.get(level, 0) + total
    return {level: right[level] / all_[level] for level in sorted(right) if all_[level]}


def watch_levels(count: HitCounter, model: Decoder, held_out: ShardSet) -> Mapping[str, float]:
    """`level_accuracies` of the first held-out examples, named as in metrics.jsonl."""
    shards = (held_out.load(number) for number in range(len(held_out)))
    rows = zip(shards, held_out.infos, strict=True)
    examples = (shard[row] for shard, info in rows for row in range(info.rows))
    accuracies = level_accuracies(count, model, islice(examples, _HELD_OUT_EXAMPLES))
    return {f"held_out_accuracy_level_{level}": share for level, share in accuracies.items()}
