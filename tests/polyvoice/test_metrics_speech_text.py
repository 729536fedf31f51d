"""Text scores against sacrebleu and known answers, and the form in which texts are compared."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

pytest.importorskip("sacrebleu")
pytest.importorskip("num2words")
pytest.importorskip("cn2an")

from sacrebleu.metrics import BLEU, CHRF

from polyvoice.evaluation.normalization import normalize_text, split_words
from polyvoice.evaluation.statistics import Resampling, score_mean, score_ratio, score_sums
from polyvoice.evaluation.text_scores import bleu_of_sums, bleu_tokenizer, chrf_of_sums, match_texts

WORDS = ["the", "a", "cat", "sat", "on", "mat", "dog", "it's", "número", "señor"]
SENTENCES = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)


def corpus_scores(transcripts: list[str], references: list[str], language: str) -> tuple[float, float, float]:
    matches = [match_texts(*pair, language) for pair in zip(transcripts, references, strict=True)]
    bleu = bleu_of_sums(np.array([match.bleu for match in matches]).sum(axis=0, keepdims=True))[0]
    chrf = chrf_of_sums(np.array([match.chrf for match in matches]).sum(axis=0, keepdims=True))[0]
    return bleu, chrf, sum(match.edits for match in matches) / max(1, sum(match.length for match in matches))


@given(st.lists(st.tuples(SENTENCES, SENTENCES.filter(bool)), min_size=1, max_size=5))
def test_corpus_scores_equal_those_of_sacrebleu(pairs: list[tuple[str, str]]) -> None:
    transcripts, references = [list(texts) for texts in zip(*pairs, strict=True)]
    bleu, chrf, _ = corpus_scores(transcripts, references, "en")
    assert bleu == pytest.approx(BLEU().corpus_score(transcripts, [references]).score)
    assert chrf == pytest.approx(CHRF().corpus_score(transcripts, [references]).score)


def test_chinese_is_scored_by_characters() -> None:
    transcripts, references = ["今天天气很好", "我去学校"], ["今天天气不好", "我去学校"]
    bleu, chrf, error_rate = corpus_scores(transcripts, references, "zh")
    assert bleu == pytest.approx(BLEU(tokenize="zh").corpus_score(transcripts, [references]).score)
    assert chrf == pytest.approx(CHRF().corpus_score(transcripts, [references]).score)
    assert error_rate == 1 / 10
    assert [bleu_tokenizer(language) for language in ("zh-CN", "es", "ja")] == ["zh", "13a", "char"]


def test_a_copy_scores_100_and_silence_0() -> None:
    texts = ["the conference is now muted", "please enter your number"]
    assert corpus_scores(texts, texts, "en") == (pytest.approx(100), pytest.approx(100), 0.0)
    assert corpus_scores(["", ""], texts, "en") == (0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("language", "written", "spoken"),
    [
        ("en", "Press 2, please.", "press two please"),
        (
            "en",
            "It\u2019s 50% of 1,234.5!",
            "it's fifty percent of one thousand two hundred and thirty four point five",
        ),
        ("en", "the 2nd and the 21st", "the second and the twenty first"),
        (
            "en",
            "Call 0800 or 5551234567",
            "call zero eight zero zero or five five five one two three four five six seven",
        ),
        ("en", "'quoted' well-known [laughter] words", "quoted well known words"),
        ("es", "Marque 1.500, o 3,5; ¿más?", "marque mil quinientos o tres punto cinco más"),
        ("es", "el 20%", "el veinte por ciento"),
        ("zh", "今天 25 度，3.5%。", "今天二十五度百分之三点五"),
        ("de", "Drücken Sie 2!", "drücken sie 2"),
        ("en", "...", ""),
    ],
)
def test_normalized_text(language: str, written: str, spoken: str) -> None:
    assert normalize_text(written, language) == spoken


@given(st.text(max_size=40), st.sampled_from(["en", "es", "zh", "fr"]))
@example("۰", "zh")
def test_normalizing_twice_changes_nothing(text: str, language: str) -> None:
    once = normalize_text(text, language)
    assert normalize_text(once, language) == once
    assert ("" if language == "zh" else " ").join(split_words(once, language)) == once


def test_intervals() -> None:
    resampling = Resampling(samples=400, seed=1)
    values = np.random.default_rng(0).normal(3.0, 1.0, 100).tolist()
    score = score_mean(values, resampling)
    assert score is not None
    assert score.value == pytest.approx(np.mean(values))
    # The interval of a mean is about two standard errors to each side.
    error = np.std(values) / 10
    assert score.low == pytest.approx(score.value - 1.96 * error, abs=0.4 * error)
    assert score.high == pytest.approx(score.value + 1.96 * error, abs=0.4 * error)
    assert score_mean(values, resampling) == score
    assert score_mean([], resampling) is None


def test_a_ratio_is_of_sums_not_of_rows() -> None:
    score = score_ratio([(1, 1), (0, 9)], Resampling(samples=50))
    assert score is not None
    assert (score.value, score.low, score.high, score.n) == (0.1, 0.0, 1.0, 2)
    nothing = score_ratio([(0, 0)], Resampling(samples=5))
    assert nothing is not None
    assert nothing.value == 0.0


def test_equal_rows_leave_no_doubt() -> None:
    match = match_texts("the cat sat on the mat", "the cat sat on a mat", "en")
    score = score_sums([match.bleu] * 7, bleu_of_sums, Resampling(samples=20))
    assert score is not None
    assert score.low == score.value == score.high
    assert 30 < score.value < 70
