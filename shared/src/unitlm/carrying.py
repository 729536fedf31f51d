"""Weights of a model carried over to another vocabulary: what both know keeps its vector, new pieces begin as old ones.

A piece of text that is new begins as the mean of those that spelled it until now (fast vocabulary transfer, Gee et al.,
arXiv 2402.09977).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from unitlm.vocabulary import Vocabulary

_TABLES = ("embedding.weight", "head.weight")


def trace_ids(new: Vocabulary, old: Vocabulary) -> list[list[int]]:
    """For each id of `new`, the ids of `old` that say the same, in order; none where it says nothing of the kind.

    Marks and words are the same by their text, what lies in an alphabet by the alphabet's name.
    """
    known = {old.describe(index): index for index in range(old.size)}
    traced: list[list[int]] = []
    first = min((new.span(name)[0] for name in new.alphabets), default=new.size)
    for index in range(first):
        same = known.get(new.describe(index))
        traced.append([] if same is None else [same])
    for name, alphabet in new.alphabets.items():
        for index in range(alphabet.size):
            spelled = alphabet.spell(index, old.alphabets[name]) if name in old.alphabets else []
            start = old.span(name)[0] if spelled else 0
            traced.append([start + part for part in spelled])
    return traced


def carry_weights(
    weights: Mapping[str, Tensor], fresh: Mapping[str, Tensor], new: Vocabulary, old: Vocabulary
) -> dict[str, Tensor]:
    """A decoder's weights for another vocabulary.

    Args:
        weights: of a `unitlm.model.Decoder` with the vocabulary `old`.
        fresh: of one with `new`, else of the same shape; what `old` cannot say keeps its vector from here.
        new: the vocabulary from now on.
        old: that of `weights`.

    Returns:
        All weights, for `load_state_dict`.
    """
    traced = trace_ids(new, old)
    carried = dict(weights)
    for table in _TABLES:
        if table in weights:
            rows = [
                weights[table][torch.tensor(ids)].mean(dim=0) if ids else own
                for ids, own in zip(traced, fresh[table], strict=True)
            ]
            carried[table] = torch.stack(rows)
    return carried
