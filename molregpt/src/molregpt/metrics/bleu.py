"""Corpus BLEU from n-gram counts that add up over rows."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST = 4
"""The longest n-gram that is counted."""


def count_ngrams(prediction: Sequence[str], reference: Sequence[str]) -> list[int]:
    """Count what BLEU needs to know of one row.

    A prediction shorter than n tokens counts as one n-gram that is not in the reference, as in
    `nltk.translate.bleu_score.corpus_bleu`, whose values these are to the last digit.

    Args:
        prediction: Its tokens.
        reference: Its tokens.

    Returns:
        Ten numbers: n-grams of the prediction that are in the reference (n = 1..4, each at most as often as there),
        n-grams of the prediction (n = 1..4), tokens of the prediction, tokens of the reference.
    """
    matches, candidates = [], []
    for n in range(1, LONGEST + 1):
        predicted = Counter(zip(*(prediction[i:] for i in range(n)), strict=False))
        expected = Counter(zip(*(reference[i:] for i in range(n)), strict=False))
        matches.append((predicted & expected).total())
        candidates.append(max(1, predicted.total()))
    return [*matches, *candidates, len(prediction), len(reference)]


def bleu_of_sums(sums: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    """BLEU without smoothing (Papineni et al., ACL 2002), weights 1/order.

    Args:
        sums: `[..., 10]`, `count_ngrams` summed over rows.
        order: The longest n-gram that counts, 1 to 4.

    Returns:
        `[...]`, each in 0..1; 0 where no n-gram of some length matches.
    """
    matches, candidates = sums[..., :order], sums[..., LONGEST : LONGEST + order]
    predicted, expected = sums[..., 2 * LONGEST], sums[..., 2 * LONGEST + 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.log(matches / candidates).mean(axis=-1)
        brevity = np.minimum(0.0, 1.0 - expected / predicted)
        return np.where((matches > 0).all(axis=-1), np.exp(precision + brevity), 0.0)
