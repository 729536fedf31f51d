"""BM25 scores against rank_bm25 and against the formula itself; search, files and refusals."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rank_bm25 import BM25Okapi

import molindex.captions
import molindex.postings
import molindex.tokenization
from molindex.captions import Bm25Settings, CaptionIndex
from molindex.errors import InputError
from molindex.molecules import MoleculeIndex
from molindex.neighbours import Neighbour
from molindex.tokenization import tokenize


@pytest.fixture(scope="module")
def pairs(sample):
    return [(row.key, row.text) for row in sample]


@pytest.fixture(scope="module")
def index(pairs):
    return CaptionIndex.build(pairs)


@pytest.mark.parametrize("tokenizer", ["whitespace", "chemistry", "char", "pieces"])
def test_okapi_equals_rank_bm25(tokenizer, pairs):
    """Formula `okapi` with k1 = 1.5 and b = 0.75 against rank_bm25.BM25Okapi with its defaults; float64 in both."""
    index = CaptionIndex.build(pairs, tokenizer, formula="okapi")
    peer = BM25Okapi([tokenize(text, tokenizer) for _, text in pairs])
    for _, text in pairs[::9]:
        expected = peer.get_scores(tokenize(text, tokenizer))
        np.testing.assert_allclose(index.scores(text), expected, rtol=1e-9, atol=1e-9)


def test_okapi_floors_negative_idf_as_rank_bm25_does():
    texts = ["a b c", "a b", "a d", "a e f g"]
    index = CaptionIndex.build(
        [(str(n), text) for n, text in enumerate(texts)], "whitespace", formula="okapi", k1=1.5, b=0.75
    )
    expected = BM25Okapi([text.split() for text in texts]).get_scores(["a", "b", "b"])
    np.testing.assert_allclose(index.scores("a b b"), expected, rtol=1e-12)


def test_whitespace_tokens_are_those_of_split():
    text = "The molecule  is (1->4)-linked,\tand\nso on."
    assert tokenize(text, "whitespace") == text.split()


@pytest.mark.parametrize(("k1", "b"), [(1.5, 0.75), (0.9, 0.4), (2.0, 0.0)])
def test_lucene_equals_the_formula(pairs, k1, b):
    index = CaptionIndex.build(pairs, k1=k1, b=b)
    documents = [Counter(tokenize(text, "chemistry")) for _, text in pairs]
    lengths = [sum(document.values()) for document in documents]
    mean = sum(lengths) / len(lengths)
    query = tokenize(pairs[5][1], "chemistry")
    for row in range(0, len(pairs), 13):
        score = 0.0
        for term in query:
            n = sum(term in document for document in documents)
            f = documents[row][term]
            idf = math.log(1 + (len(documents) - n + 0.5) / (n + 0.5))
            score += idf * f / (f + k1 * (1 - b + b * lengths[row] / mean))
        assert index.scores(pairs[5][1])[row] == pytest.approx(score, rel=1e-9)


def test_search_is_the_sorted_scores_with_ties_in_row_order(index, pairs):
    for _, text in pairs[::17]:
        scores = index.scores(text)
        order = np.lexsort((np.arange(len(scores)), -scores))
        for k in (1, 5, 50, 1000):
            expected = [Neighbour(int(row), pairs[row][0], float(scores[row])) for row in order[:k]]
            assert index.search(text, k) == expected


@pytest.mark.parametrize("formula", ["lucene", "okapi"])
def test_the_best_are_found_without_scoring_all(pairs, formula, monkeypatch):
    index = CaptionIndex.build(pairs * 20, formula=formula)
    looked_up = []
    score = molindex.postings.Postings.score

    def watched(self, terms, rows):
        looked_up.append(len(rows))
        return score(self, terms, rows)

    monkeypatch.setattr(molindex.postings.Postings, "score", watched)
    for key, text in pairs[::9]:
        for exclude in ([], [key]):
            monkeypatch.setattr(molindex.captions, "_FEWEST", 0)
            found = [index.search(text, k, exclude=exclude) for k in (1, 7, 30)]
            monkeypatch.setattr(molindex.captions, "_FEWEST", len(index) + 1)
            assert found == [index.search(text, k, exclude=exclude) for k in (1, 7, 30)]
    # Not seldom, though the collection is small.
    assert len(looked_up) > len(pairs[::9])


@settings(deadline=None, max_examples=200)
@given(
    seed=st.integers(0, 2**32 - 1),
    words=st.integers(1, 40),
    captions=st.integers(1, 300),
    query=st.lists(st.integers(0, 45), max_size=12),
    k=st.integers(1, 12),
    exclude=st.sets(st.integers(0, 300), max_size=20),
    formula=st.sampled_from(["lucene", "okapi"]),
)
def test_the_best_are_those_of_all_scores(seed, words, captions, query, k, exclude, formula):
    """Words as rare as in language, so that queries of any mixture of rare and common ones come up."""
    rng = np.random.default_rng(seed)
    texts = [" ".join(f"w{min(word, words)}" for word in rng.zipf(1.5, rng.integers(0, 12))) for _ in range(captions)]
    index = CaptionIndex.build([(str(row), text) for row, text in enumerate(texts)], "whitespace", formula=formula)
    asked, barred = " ".join(f"w{word}" for word in query), [str(row) for row in exclude]
    scores = index.scores(asked)
    allowed = np.array([row for row in range(captions) if row not in exclude], np.int64)
    best = allowed[np.lexsort((allowed, -scores[allowed]))[:k]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(molindex.captions, "_FEWEST", 0)
        found = index.search(asked, k, exclude=barred)
    assert [(hit.row, hit.similarity) for hit in found] == [(int(row), float(scores[row])) for row in best]


def test_equal_captions_tie_in_row_order():
    index = CaptionIndex.build([(name, "a red dye") for name in "zyxw"] + [("v", "a blue dye")])
    assert [hit.key for hit in index.search("red", 3)] == ["z", "y", "x"]


def test_a_caption_finds_itself_unless_excluded(index, pairs):
    key, text = pairs[40]
    assert index.search(text, 1)[0].key == key
    without = index.search(text, 10, exclude=[key])
    assert without == [hit for hit in index.search(text, 11) if hit.key != key]
    assert index.search_batch([text, text], 10, exclude=[[key], []]) == [without, index.search(text, 10)]


def test_unknown_words_score_nothing(index):
    assert not index.scores("qwertyuiop").any()
    assert [hit.row for hit in index.search("qwertyuiop", 3)] == [0, 1, 2]


def test_greek_and_its_name_find_the_same(index):
    assert index.search("17β-hydroxy steroid", 5) == index.search("17beta-hydroxy steroid", 5)


@pytest.mark.parametrize("tokenizer", ["whitespace", "chemistry", "char", "pieces"])
def test_a_saved_index_finds_the_same(tokenizer, pairs, tmp_path):
    index = CaptionIndex.build(pairs, tokenizer, formula="okapi")
    index.save(tmp_path / "captions.index")
    opened = CaptionIndex.open(tmp_path / "captions.index", Bm25Settings(tokenizer, "okapi"), verify=True)
    assert opened.provenance == index.provenance
    assert list(opened.keys) == [key for key, _ in pairs]
    queries = [text for _, text in pairs[:20]]
    assert opened.search_batch(queries, 7) == index.search_batch(queries, 7)
    index.save(tmp_path / "again.index")
    assert (tmp_path / "again.index").read_bytes() == (tmp_path / "captions.index").read_bytes()


def test_a_table_gives_the_same_index(sample_path, index, tmp_path):
    from_table = CaptionIndex.from_table(sample_path, rejects=tmp_path / "bad.tsv")
    assert from_table.provenance == index.provenance
    assert not (tmp_path / "bad.tsv").exists()


def test_a_table_with_bad_rows_gives_a_side_file(tmp_path):
    table = tmp_path / "pool.tsv"
    table.write_text("CID\tSMILES\tdescription\n1\tC\tmethane gas\n2\tC\n3\tC\t\n4\tnot smiles\twater\n")
    index = CaptionIndex.from_table(table, rejects=tmp_path / "bad.tsv")
    assert list(index.keys) == ["1", "4"]
    assert (tmp_path / "bad.tsv").read_text().splitlines()[1:] == [
        f"{table}\t3\t2 fields, the header has 3",
        f"{table}\t4\tno description",
    ]


def test_empty_captions_and_empty_indexes(tmp_path):
    index = CaptionIndex.build([("a", ""), ("b", "")])
    assert [hit.similarity for hit in index.search("water", 2)] == [0.0, 0.0]
    CaptionIndex.build([]).save(tmp_path / "empty.index")
    assert CaptionIndex.open(tmp_path / "empty.index").search("water", 2) == []


def test_mismatches_are_refused(index, sample, tmp_path):
    index.save(tmp_path / "captions.index")
    with pytest.raises(
        InputError, match=r"an index of chemistry\.1:lucene:1\.5:0\.75, expected char\.1:lucene:1\.5:0\.75"
    ):
        CaptionIndex.open(tmp_path / "captions.index", Bm25Settings("char"))
    MoleculeIndex.build([("a", "C")]).save(tmp_path / "molecules.index")
    with pytest.raises(InputError, match="an index of molecules, expected one of captions"):
        CaptionIndex.open(tmp_path / "molecules.index")


def test_another_revision_of_the_tokenizer_is_refused(index, tmp_path, monkeypatch):
    index.save(tmp_path / "captions.index")
    monkeypatch.setitem(molindex.tokenization._REVISIONS, "chemistry", 2)
    with pytest.raises(
        InputError, match=r"settings chemistry\.1.*this molindex has chemistry\.2.*build the index again"
    ):
        CaptionIndex.open(tmp_path / "captions.index")


@pytest.mark.parametrize(
    "settings", [("words",), ("char", "bm42"), ("char", "okapi", -1.0), ("char", "okapi", 1.0, 2.0)]
)
def test_unknown_settings_are_refused(settings):
    with pytest.raises(InputError):
        Bm25Settings(*settings)


@pytest.mark.parametrize("k", [1, 3, 40, 700, 2_000])
@pytest.mark.parametrize("seed", range(4))
def test_the_best_of_many_are_those_of_a_whole_sort(k, seed):
    # Few different scores and many of 0.0, so that ties are everywhere, also at the border.
    random = np.random.default_rng(seed)
    texts = [" ".join(random.choice(["a", "b", "c", "d", "e"], random.integers(1, 4))) for _ in range(1_000)]
    index = CaptionIndex.build(((str(row), text) for row, text in enumerate(texts)), "whitespace")
    excluded = [str(row) for row in range(0, 1_000, 7)]
    scores = index.scores("a b")
    rows = np.setdiff1d(np.arange(1_000), np.arange(0, 1_000, 7))
    expected = rows[np.lexsort((rows, -scores[rows]))][:k].tolist()
    assert [hit.row for hit in index.search("a b", k, exclude=excluded)] == expected
    assert [hit.row for hit in index.search("nowhere", k)] == list(range(min(k, 1_000)))
