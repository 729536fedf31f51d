"""Caption scores against golden values computed by other means, and at the edges."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from molregpt.data.shipped import sample_pairs
from molregpt.data.table import read_table
from molregpt.errors import InputError
from molregpt.metrics.captions import CAPTION_METRICS, score_captions
from molregpt.metrics.statistics import Resampling

GOLDEN = Path(__file__).parent / "golden"


def golden_captions() -> tuple[list[str], list[str]]:
    predictions = {row.cells[0]: row.cells[1] for row in read_table(GOLDEN / "predictions.tsv").rows}
    pairs = sample_pairs()
    return [predictions[pair.key] for pair in pairs], [pair.caption for pair in pairs]


def test_scores_are_the_golden_ones() -> None:
    scores = score_captions(*golden_captions())
    expected = json.loads((GOLDEN / "scores.json").read_text())["mol2cap"]
    assert {name: score.value for name, score in scores.metrics().items()} == pytest.approx(expected, abs=1e-9)
    assert {score.n for score in scores.metrics().values()} == {100}
    for name in ("rouge1", "rouge2", "rougeL", "meteor"):
        mean = sum(row.as_json()[name] for row in scores.rows) / 100
        assert mean == pytest.approx(expected[name])


def test_equal_captions_score_one_and_strangers_zero() -> None:
    captions = ["The molecule is an acid that derives from a butane.", "It is a very, very salty compound of tin."]
    same = score_captions(captions, captions)
    others = [name for name in CAPTION_METRICS if name != "meteor"]
    assert [same.metrics()[name].value for name in others] == pytest.approx([1.0] * 8)
    # METEOR keeps its penalty of one chunk: 1 - 0.5 / matches^3.
    assert same.meteor.value == pytest.approx(1.0, abs=1e-3)
    other = score_captions(captions, ["xenon krypton", "argon"])
    assert [score.value for score in other.metrics().values()] == [0.0] * 9


def test_empty_predictions_score_zero_and_do_not_stop_the_rest() -> None:
    scores = score_captions(["", "an acid of some kind"], ["an acid of a kind", "an acid of some kind"])
    # Neither side states a relation, so there is nothing that could be right or missing.
    assert list(scores.rows[0].as_json().values()) == [0.0] * 6 + [None] * 3
    assert scores.rows[1].bleu4 == pytest.approx(1.0)
    assert scores.rouge1.value == pytest.approx(0.5)
    nothing = score_captions([""], ["an acid"])
    assert [score.value for score in nothing.metrics().values()] == [0.0] * 9


def test_the_tokenizer_changes_the_score_and_is_named_beside_it() -> None:
    predictions, references = golden_captions()
    scibert = score_captions(predictions[:20], references[:20]).as_json()
    words = score_captions(predictions[:20], references[:20], tokenizer="words").as_json()
    assert scibert["bleu4"] != words["bleu4"]
    assert scibert["rouge1"] == words["rouge1"]
    assert isinstance(words["tokenizer"], dict)
    assert words["tokenizer"]["name"] == "words"


def test_the_summary_names_what_the_figures_depend_on() -> None:
    scores = score_captions(["a b c d e"], ["a b c d e"], resampling=Resampling(samples=10, seed=4))
    summary = json.loads(json.dumps(scores.as_json()))
    assert list(summary)[:9] == list(CAPTION_METRICS)
    assert set(summary["bleu2"]) == {"value", "low", "high", "n"}
    assert set(summary["versions"]) == {"metrics", "nltk", "rouge-score", "tokenizers"}
    assert summary["bootstrap"] == {"samples": 10, "seed": 4, "interval": 0.95}


def test_unequal_lengths_and_no_rows_are_refused() -> None:
    with pytest.raises(InputError, match="1 predictions for 2 references"):
        score_captions(["a"], ["a", "b"])
    with pytest.raises(InputError, match="no rows"):
        score_captions([], [])
