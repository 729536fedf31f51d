"""All that is known of the neighbours of a query, one row of figures each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molregpt.records import Direction, Example
from molregpt.relevance.captions import compare_captions
from molregpt.relevance.likeness import caption_similarities, cast_votes
from molregpt.relevance.molecules import compare_molecules, compare_scored, profile_molecule

Floats = NDArray[np.float64]

_RELATIVE = 12
"""So many of the first figures are also given below the best of the neighbours."""

_SHARPNESS = {"mol2cap": 0.15, "cap2mol": 0.1}
"""By which a neighbour's likeness becomes its vote for the answers that resemble its own."""


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """Neighbours of a query.

    Attributes:
        examples: Those whose molecule can be read.
        figures: `[N, F]`.
        among: How alike their answers are, `[N, N]`.
    """

    examples: tuple[Example, ...]
    figures: Floats
    among: Floats


def describe_neighbours(
    direction: Direction, query: str, examples: Sequence[Example], name: Callable[[str], str]
) -> Described:
    """Put together what is known of neighbours.

    Args:
        direction: What the query is.
        query: A SMILES that can be read, or a caption.
        examples: What a search found, the most similar first, in the scale of the direction's standard strategy.
        name: Gives the systematic name of a molecule, or nothing.
    """
    from molindex.smiles import SmilesError

    readable, profiles = [], []
    for example in examples:
        try:
            profiles.append(profile_molecule(example.pair.smiles, name(example.pair.smiles)))
        except SmilesError:
            continue
        readable.append(example)
    if not readable:
        return Described((), np.zeros((0, 0)), np.zeros((0, 0)))
    pairs, scores = [example.pair for example in readable], np.array([example.similarity for example in readable])
    if direction == "mol2cap":
        captions = [pair.caption for pair in pairs]
        compared = compare_molecules(profile_molecule(query, name(query)), profiles)
        figures = np.column_stack([scores, compared])
        votes, among = figures[:, 0] + figures[:, 1], caption_similarities(captions, captions)
    else:
        figures = compare_captions(query, pairs, [name(pair.smiles) for pair in pairs], profiles, scores)
        votes, among = figures[:, 0], compare_scored(profiles, profiles)
    supported, common = among @ cast_votes(votes, _SHARPNESS[direction]), among.mean(axis=1)
    ranks = np.arange(len(readable)) / len(readable)
    relative = figures[:, :_RELATIVE] - figures[:, :_RELATIVE].max(axis=0)
    extra = [supported, common, supported - supported.max(), ranks]
    return Described(tuple(readable), np.column_stack([figures, relative, *extra]), among)
