"""Each strategy finds what an independent computation finds, and never what it was told to leave out."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator

from molregpt.data.shipped import sample_pairs
from molregpt.database import Database
from molregpt.errors import InputError
from molregpt.records import Direction
from molregpt.retrieval.dense import DenseRetriever
from molregpt.retrieval.strategies import STANDARD, StrategyName, create_retriever, strategies_for

QUERY = "CC(=O)OC1=CC=CC=C1C(=O)O"
TEXT = "The molecule is a steroid ester. It has a role as a plant metabolite."


@pytest.fixture(scope="module")
def database(index_cache: Path) -> Database:
    return Database(sample_pairs(), cache=index_cache)


def _nearest_by(database: Database, similarities: list[float], count: int) -> list[tuple[str, float]]:
    order = np.argsort(-np.array(similarities), kind="stable")[:count]
    return [(database.pairs[row].key, similarities[row]) for row in order]


def test_morgan_is_dice_on_2048_bits_of_radius_2(database: Database) -> None:
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    pool = [generator.GetFingerprint(Chem.MolFromSmiles(pair.smiles)) for pair in database.pairs]
    query = generator.GetFingerprint(Chem.MolFromSmiles(QUERY))
    expected = _nearest_by(database, DataStructs.BulkDiceSimilarity(query, pool), 7)
    found = create_retriever("morgan", database, "mol2cap").retrieve(QUERY, 7)
    assert [(example.pair.key, example.similarity) for example in found] == expected


def test_rdkit_is_tanimoto_on_path_fingerprints(database: Database) -> None:
    pool = [Chem.RDKFingerprint(Chem.MolFromSmiles(pair.smiles)) for pair in database.pairs]
    query = Chem.RDKFingerprint(Chem.MolFromSmiles(QUERY))
    expected = _nearest_by(database, DataStructs.BulkTanimotoSimilarity(query, pool), 7)
    found = create_retriever("rdkit", database, "mol2cap").retrieve(QUERY, 7)
    assert [(example.pair.key, example.similarity) for example in found] == expected


@pytest.mark.parametrize("name", ["bm25", "char-bm25"])
def test_a_caption_finds_itself_first(database: Database, name: StrategyName) -> None:
    retriever = create_retriever(name, database, "cap2mol")
    for pair in database.pairs[:10]:
        assert retriever.retrieve(pair.caption, 3)[0].pair == pair


@pytest.mark.parametrize(
    ("direction", "name"),
    [(d, n) for d in ("mol2cap", "cap2mol") for n in strategies_for(d) if n != "dense"],  # type: ignore[arg-type]
)
def test_excluded_rows_are_not_found_and_the_others_keep_their_order(
    database: Database, direction: Direction, name: StrategyName
) -> None:
    retriever = create_retriever(name, database, direction)
    query = QUERY if direction == "mol2cap" else TEXT
    rows = {pair: row for row, pair in enumerate(database.pairs)}
    first = retriever.retrieve(query, 8)
    assert len(first) == len({example.pair.key for example in first}) == 8
    assert [e.similarity for e in first] == sorted((e.similarity for e in first), reverse=True)
    barred = frozenset(rows[example.pair] for example in first[::2])
    second = retriever.retrieve(query, 4, barred)
    assert not barred & {rows[example.pair] for example in second}
    if name not in ("hybrid", "learned"):  # there, ranks move up when others leave
        assert [example.pair for example in second] == [example.pair for example in first[1::2]]


def test_random_depends_on_seed_and_query_alone(database: Database) -> None:
    retriever = create_retriever("random", database, "mol2cap", seed=3)
    once = retriever.retrieve(QUERY, 5)
    retriever.retrieve("CCO", 5)
    assert (
        retriever.retrieve(QUERY, 5)
        == once
        == create_retriever("random", database, "mol2cap", seed=3).retrieve(QUERY, 5)
    )
    assert create_retriever("random", database, "mol2cap", seed=4).retrieve(QUERY, 5) != once
    assert len(retriever.retrieve(QUERY, 1000, frozenset({0, 1}))) == len(database.pairs) - 2


def test_hybrid_is_reciprocal_rank_fusion_of_its_parts(database: Database) -> None:
    scores: dict[str, float] = {}
    for name in ("morgan", "rdkit"):
        for rank, example in enumerate(create_retriever(name, database, "mol2cap").retrieve(QUERY, 100), start=1):
            scores[example.pair.key] = scores.get(example.pair.key, 0.0) + 1 / (60 + rank)
    found = create_retriever("hybrid", database, "mol2cap").retrieve(QUERY, 6)
    assert [example.similarity for example in found] == pytest.approx(sorted(scores.values(), reverse=True)[:6])
    assert all(example.similarity == pytest.approx(scores[example.pair.key]) for example in found)


@pytest.mark.parametrize(("direction", "name"), [("mol2cap", "bm25"), ("cap2mol", "morgan"), ("mol2cap", "dense")])
def test_a_strategy_for_the_other_kind_of_query_is_refused(
    database: Database, direction: Direction, name: StrategyName
) -> None:
    with pytest.raises(InputError, match=f"'{name}' does not search by") as caught:
        create_retriever(name, database, direction)
    assert STANDARD[direction] in str(caught.value)
    assert "\n" not in str(caught.value)


class LetterCounts:
    """Encodes a text as its counts of letters; remembers how many texts it was given."""

    def __init__(self) -> None:
        self.encoded = 0

    def encode(self, sentences: list[str]) -> np.ndarray:
        self.encoded += len(sentences)
        return np.array([[text.count(letter) for letter in "aeioulnst"] for text in sentences], dtype=np.float32)


def test_dense_finds_by_cosine_and_embeds_the_pool_once(database: Database, tmp_path: Path) -> None:
    encoder = LetterCounts()
    captions = [pair.caption for pair in database.pairs]
    found = DenseRetriever(database.pairs, encoder, model="letters", cache=tmp_path).retrieve(TEXT, 5)
    assert encoder.encoded == len(captions) + 1
    pool, query = encoder.encode(captions).astype(np.float64), encoder.encode([TEXT])[0].astype(np.float64)
    cosines = pool @ query / np.linalg.norm(pool, axis=1) / np.linalg.norm(query)
    assert [example.similarity for example in found] == pytest.approx(sorted(cosines, reverse=True)[:5], abs=1e-6)

    again, other = LetterCounts(), LetterCounts()
    assert DenseRetriever(database.pairs, again, model="letters", cache=tmp_path).retrieve(TEXT, 5) == found
    assert again.encoded == 1
    DenseRetriever(database.pairs, other, model="other letters", cache=tmp_path)
    assert other.encoded == len(captions)  # another model's vectors are never taken for this one's


def test_dense_without_its_extra_says_what_to_install(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(InputError, match=r"pip install 'molregpt\[dense\]'"):
        create_retriever("dense", database, "cap2mol")
