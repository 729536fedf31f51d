"""Scores of captions: BLEU-2, BLEU-4, ROUGE-1, -2, -L and METEOR, by the conventions of MolT5's evaluation; relations.

Corpus BLEU has no smoothing and, like METEOR, counts the tokens of a named tokenizer. ROUGE is `rouge_score` without
stemming, F1, on its own words. METEOR is NLTK's, with the WordNet table that ships here. What a caption states rather
than how it is worded is compared by `molregpt.metrics.relations`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molregpt.errors import InputError
from molregpt.metrics.bleu import bleu_of_sums, count_ngrams
from molregpt.metrics.relations import RelationCount, RelationScores, score_relations
from molregpt.metrics.statistics import DEFAULT_RESAMPLING, Resampling, Score, library_versions, score_rows
from molregpt.metrics.tokenization import CaptionTokenizer, load_tokenizer
from molregpt.metrics.wordnet import load_wordnet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CAPTION_METRICS = (
    "bleu2",
    "bleu4",
    "rouge1",
    "rouge2",
    "rougeL",
    "meteor",
    "relation_precision",
    "relation_recall",
    "relation_f1",
)
"""The names that result files use."""

_DISTRIBUTIONS = ("nltk", "rouge-score", "tokenizers")


@dataclass(frozen=True, slots=True)
class CaptionRow:
    """Scores of one caption; the BLEU of a single row is 0 whenever no n-gram of some length matches."""

    bleu2: float
    bleu4: float
    rouge1: float
    rouge2: float
    rouge_l: float
    meteor: float
    relations: RelationCount

    def as_json(self) -> dict[str, float | None]:
        """The scores by the names that result files use; None where no relation is stated that could be right."""
        words = (self.bleu2, self.bleu4, self.rouge1, self.rouge2, self.rouge_l, self.meteor)
        relations = (self.relations.precision, self.relations.recall, self.relations.f1)
        return dict(zip(CAPTION_METRICS, words + relations, strict=True))


@dataclass(frozen=True, slots=True)
class CaptionScores:
    """Scores of a corpus of captions.

    Attributes:
        bleu2: Corpus BLEU with n-grams up to 2.
        bleu4: Corpus BLEU with n-grams up to 4.
        rouge1: Mean F1 of words.
        rouge2: Mean F1 of word pairs.
        rouge_l: Mean F1 of the longest common subsequence.
        meteor: Mean METEOR.
        relations: Precision, recall and F1 of the relations, over all and of each kind.
        tokenizer: What BLEU and METEOR count.
        resampling: How the intervals were made.
        versions: Versions of the metrics and of the libraries.
        rows: The scores of each row.
    """

    bleu2: Score
    bleu4: Score
    rouge1: Score
    rouge2: Score
    rouge_l: Score
    meteor: Score
    relations: RelationScores
    tokenizer: CaptionTokenizer
    resampling: Resampling
    versions: Mapping[str, str]
    rows: tuple[CaptionRow, ...]

    def metrics(self) -> dict[str, Score]:
        """The scores by the names that result files use."""
        words = (self.bleu2, self.bleu4, self.rouge1, self.rouge2, self.rouge_l, self.meteor)
        relations = (self.relations.all.precision, self.relations.all.recall, self.relations.all.f1)
        return dict(zip(CAPTION_METRICS, words + relations, strict=True))

    def as_json(self) -> dict[str, object]:
        """The contents of a scores.json: one entry a metric, one a kind of relation, then what they depend on."""
        return {name: score.as_json() for name, score in self.metrics().items()} | {
            "relations": {kind: score.as_json() for kind, score in self.relations.kinds.items()},
            "rows": len(self.rows),
            "tokenizer": self.tokenizer.as_json(),
            "bootstrap": self.resampling.as_json(),
            "versions": dict(self.versions),
        }


def score_captions(
    predictions: Sequence[str],
    references: Sequence[str],
    *,
    tokenizer: str | CaptionTokenizer = "scibert",
    resampling: Resampling = DEFAULT_RESAMPLING,
) -> CaptionScores:
    """Score captions against one reference each.

    Args:
        predictions: The captions to score; an empty one scores 0.
        references: The reference of each.
        tokenizer: What BLEU and METEOR count; a name is loaded with `load_tokenizer`.
        resampling: How the intervals are made.

    Raises:
        InputError: The lengths differ, or there is no row.
    """
    check_lengths(predictions, references)
    if isinstance(tokenizer, str):
        tokenizer = load_tokenizer(tokenizer)
    predicted, expected = tokenizer.tokenize(predictions), tokenizer.tokenize(references)
    ngrams = np.array([count_ngrams(p, r) for p, r in zip(predicted, expected, strict=True)], dtype=np.float64)
    values = np.column_stack([_rouge(predictions, references), _meteor(predicted, expected)])
    bleu2, bleu4, rouge1, rouge2, rouge_l, meteor = score_rows(ngrams, (2, 4), values, resampling)
    relations = score_relations(predictions, references, resampling=resampling)
    bleus = np.stack([bleu_of_sums(ngrams, 2), bleu_of_sums(ngrams, 4)], axis=1)
    return CaptionScores(
        bleu2=bleu2,
        bleu4=bleu4,
        rouge1=rouge1,
        rouge2=rouge2,
        rouge_l=rouge_l,
        meteor=meteor,
        relations=relations,
        tokenizer=tokenizer,
        resampling=resampling,
        versions=library_versions(_DISTRIBUTIONS),
        rows=tuple(
            CaptionRow(b2, b4, r1, r2, r_l, m, count)
            for (b2, b4, r1, r2, r_l, m), count in zip(np.hstack([bleus, values]).tolist(), relations.rows, strict=True)
        ),
    )


def check_lengths(predictions: Sequence[str], references: Sequence[str]) -> None:
    """Refuse predictions that are not one for each reference.

    Raises:
        InputError: The lengths differ, or there is no row.
    """
    if len(predictions) != len(references):
        raise InputError(f"{len(predictions)} predictions for {len(references)} references")
    if not references:
        raise InputError("there are no rows to score")


def _rouge(predictions: Sequence[str], references: Sequence[str]) -> list[tuple[float, float, float]]:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)
    scored = (scorer.score(reference, text) for text, reference in zip(predictions, references, strict=True))
    return [(row["rouge1"].fmeasure, row["rouge2"].fmeasure, row["rougeL"].fmeasure) for row in scored]


def _meteor(predicted: Sequence[list[str]], expected: Sequence[list[str]]) -> list[float]:
    from nltk.translate.meteor_score import single_meteor_score

    wordnet = load_wordnet()
    return [
        single_meteor_score(reference, tokens, wordnet=wordnet)
        for tokens, reference in zip(predicted, expected, strict=True)
    ]
