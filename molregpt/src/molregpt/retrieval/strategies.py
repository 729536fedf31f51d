"""Strategies by name, and which kind of query each one takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, get_args

from molregpt.errors import InputError
from molregpt.records import Direction

if TYPE_CHECKING:
    from molregpt.database import Database
    from molregpt.retrieval.base import Retriever
    from molregpt.retrieval.dense import Encoder

StrategyName = Literal["morgan", "rdkit", "bm25", "char-bm25", "random", "hybrid", "dense", "learned"]

STANDARD: Mapping[Direction, StrategyName] = {"mol2cap": "morgan", "cap2mol": "bm25"}
"""MolReGPT's own strategies (arXiv 2306.06615, section 3.1); the neighbour baseline always uses them."""

FOR_ANSWERS: StrategyName = "learned"
"""What finds the examples of an answer, unless told otherwise."""

DEFAULT_DENSE_MODEL = "sentence-transformers/all-MiniLM-L6-v2"

_TAKES: Mapping[StrategyName, frozenset[Direction]] = {
    "morgan": frozenset({"mol2cap"}),
    "rdkit": frozenset({"mol2cap"}),
    "bm25": frozenset({"cap2mol"}),
    "char-bm25": frozenset({"cap2mol"}),
    "dense": frozenset({"cap2mol"}),
    "hybrid": frozenset({"mol2cap", "cap2mol"}),
    "learned": frozenset({"mol2cap", "cap2mol"}),
    "random": frozenset({"mol2cap", "cap2mol"}),
}


def strategies_for(direction: Direction) -> tuple[StrategyName, ...]:
    """Names of the strategies that take this direction's queries, in the order of `StrategyName`."""
    return tuple(name for name in get_args(StrategyName) if direction in _TAKES[name])


def create_retriever(
    name: StrategyName,
    database: Database,
    direction: Direction,
    *,
    seed: int = 0,
    dense_model: str = DEFAULT_DENSE_MODEL,
    encoder: Encoder | None = None,
) -> Retriever:
    """The strategy `name` over a pool.

    Args:
        name: The strategy:
            `morgan` Morgan fingerprints (radius 2, 2048 bits) by Dice, as the paper says;
            `rdkit` RDKit path fingerprints by Tanimoto, as the paper's released code really does;
            `bm25` BM25 over words; `char-bm25` BM25 over characters;
            `dense` sentence embeddings; `hybrid` reciprocal rank fusion of the direction's two sparse strategies;
            `learned` the direction's standard strategy, sorted anew by how much of the right answer a neighbour's
            is likely to hold (`molregpt.relevance`);
            `random` pairs drawn by chance.
        database: The pool with its indexes.
        direction: What kind of query comes: `mol2cap` a molecule, `cap2mol` a description.
        seed: Seed of `random`.
        dense_model: The sentence-transformers model of `dense`.
        encoder: Ready-made encoder of `dense`, in place of loading `dense_model`.

    Raises:
        InputError: No strategy of that name takes such queries, or its extra is not installed.
    """
    if direction not in _TAKES.get(name, ()):
        known = ", ".join(strategies_for(direction))
        kind = "molecules" if direction == "mol2cap" else "descriptions"
        raise InputError(f"strategy {name!r} does not search by {kind}; choose one of {known}")
    match name:
        case "morgan" | "rdkit":
            from molregpt.retrieval.molecules import FingerprintRetriever

            return FingerprintRetriever(database, name)
        case "bm25" | "char-bm25":
            from molregpt.retrieval.captions import CaptionRetriever

            return CaptionRetriever(database, name)
        case "dense":
            from molregpt.retrieval.dense import DenseRetriever, load_encoder

            encoder = encoder or load_encoder(dense_model)
            return DenseRetriever(database.pairs, encoder, model=dense_model, cache=database.folder)
        case "learned":
            from molregpt.retrieval.learned import LearnedRetriever

            return LearnedRetriever(create_retriever(STANDARD[direction], database, direction), direction)
        case "random":
            from molregpt.retrieval.chance import RandomRetriever

            return RandomRetriever(database.pairs, seed)
        case "hybrid":
            from molregpt.retrieval.hybrid import HybridRetriever

            parts: tuple[StrategyName, ...] = ("morgan", "rdkit") if direction == "mol2cap" else ("bm25", "char-bm25")
            return HybridRetriever(database.pairs, [create_retriever(part, database, direction) for part in parts])
