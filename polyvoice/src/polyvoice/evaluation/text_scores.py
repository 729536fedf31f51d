"""BLEU, chrF and error rates as sums over rows, so that rows can be added up and drawn again.

BLEU is sacrebleu's corpus BLEU (n-grams up to 4, exponential smoothing) with its tokenizer 13a, zh for Chinese, and
char (single characters) for other languages that are written without spaces. chrF is chrF2 (Popović, WMT 2015):
character n-grams up to 6, beta 2, blanks left out. Both are on sacrebleu's scale of 0 to 100, and get text that
`normalize_text` has prepared: lower-cased, without punctuation, numbers as words.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from polyvoice.evaluation.normalization import UNSPACED, language_family, split_words
from polyvoice.evaluation.sequences import count_edits

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU

    from polyvoice.evaluation.statistics import Floats

_BLEU_ORDER = 4
_CHRF_ORDER = 6
_BETA_SQUARED = 4.0


@dataclass(frozen=True, slots=True)
class TextMatch:
    """How a transcript compares with a reference, as numbers that add up over rows.

    Attributes:
        bleu: matching n-grams of orders 1 to 4, all n-grams of the transcript, length of transcript and reference; 10.
        chrf: n-grams of the transcript, of the reference and of both, for each of 6 orders in turn; 18.
        edits: insertions, deletions and substitutions of words (characters in unspaced languages).
        length: words (characters) of the reference.
    """

    bleu: tuple[float, ...]
    chrf: tuple[float, ...]
    edits: int
    length: int


def match_texts(transcript: str, reference: str, language: str) -> TextMatch:
    """Compare one transcript with one reference; both come from `normalize_text`."""
    found = _bleu(bleu_tokenizer(language)).sentence_score(transcript, [reference])
    words = split_words(reference, language)
    return TextMatch(
        bleu=tuple(float(value) for value in (*found.counts, *found.totals, found.sys_len, found.ref_len)),
        chrf=_count_characters(transcript, reference),
        edits=count_edits(split_words(transcript, language), words),
        length=len(words),
    )


def bleu_tokenizer(language: str) -> str:
    """The tokenizer of sacrebleu for a language: 13a, zh for Chinese, char for other languages without spaces."""
    family = language_family(language)
    if family in ("zh", "yue"):
        return "zh"
    return "char" if family in UNSPACED else "13a"


def bleu_of_sums(sums: Floats) -> Floats:
    """Corpus BLEU, 0 to 100, of R sums of `TextMatch.bleu`: `[R, 10]` -> `[R]`; all R at once, for the bootstrap."""
    correct, total = sums[:, :_BLEU_ORDER], sums[:, _BLEU_ORDER : 2 * _BLEU_ORDER]  # [R, 4]
    transcript, reference = sums[:, -2], sums[:, -1]  # [R]
    # Exponential smoothing: the first order without a match counts as 1/2 of a match, the next as 1/4, and so on.
    unmatched = correct == 0
    smoothed = np.where(unmatched, 0.5 ** np.cumsum(unmatched, axis=1), correct)
    # Without any match, or without any n-gram of some order, the score is 0; the 1 only keeps the logarithm finite.
    defined = ~unmatched.all(axis=1) & (total > 0).all(axis=1)
    precision = np.where(defined[:, None], smoothed / np.maximum(total, 1), 1.0)
    brevity = np.minimum(0.0, 1 - reference / np.maximum(transcript, 1))
    scores: Floats = np.where(defined, 100 * np.exp(brevity + np.log(precision).mean(axis=1)), 0.0)
    return scores


def chrf_of_sums(sums: Floats) -> Floats:
    """chrF2, 0 to 100, of R sums of `TextMatch.chrf`: `[R, 18]` -> `[R]`."""
    transcript, reference, both = np.moveaxis(sums.reshape(-1, _CHRF_ORDER, 3), 2, 0)  # each [R, 6]
    # An order that one side is too short for does not count, as in sacrebleu.
    counted = (transcript > 0) & (reference > 0)
    orders = np.maximum(counted.sum(axis=1), 1)
    precision = np.where(counted, both / np.maximum(transcript, 1), 0.0).sum(axis=1) / orders
    recall = np.where(counted, both / np.maximum(reference, 1), 0.0).sum(axis=1) / orders
    weighted = _BETA_SQUARED * precision + recall
    product = (1 + _BETA_SQUARED) * precision * recall
    scores: Floats = 100 * np.divide(product, weighted, out=np.zeros(len(sums)), where=weighted > 0)
    return scores


def _count_characters(transcript: str, reference: str) -> tuple[float, ...]:
    left, right = "".join(transcript.split()), "".join(reference.split())
    counts: list[float] = []
    for order in range(1, _CHRF_ORDER + 1):
        ours, theirs = _ngrams(left, order), _ngrams(right, order)
        # As in sacrebleu: a reference shorter than the order has nothing to say about the transcript's n-grams.
        counts += [ours.total() if theirs else 0, theirs.total(), (ours & theirs).total()]
    return tuple(counts)


def _ngrams(text: str, order: int) -> Counter[str]:
    return Counter(text[start : start + order] for start in range(len(text) - order + 1))


@cache
def _bleu(tokenizer: str) -> BLEU:
    from sacrebleu.metrics.bleu import BLEU

    # The effective order touches only the score of a sentence, which is not used; without it sacrebleu warns.
    return BLEU(tokenize=tokenizer, effective_order=True)
