"""One question from the outside: find examples in a pool, ask a back end, and say what was shown and answered."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from molregpt.console import messages
from molregpt.errors import InputError
from molregpt.records import Direction, Example, Question
from molregpt.retrieval.strategies import FOR_ANSWERS, STANDARD, create_retriever

if TYPE_CHECKING:
    from molregpt.backends.options import BackendOptions
    from molregpt.database import Database
    from molregpt.records import Answer
    from molregpt.retrieval.options import RetrievalOptions
    from molregpt.retrieval.strategies import StrategyName

_WORD = re.compile(r"[A-Za-z][A-Za-z'-]{2,}")


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found.

    Attributes:
        direction: `mol2cap` when the query was read as a molecule, `cap2mol` when it was read as a description.
        strategy: The strategy that searched.
        query: The query.
        examples: The pairs found, the most similar first.
    """

    direction: Direction
    strategy: StrategyName
    query: str
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Grounded:
    """An answer with the question, and so the examples, that it was given to.

    Attributes:
        question: What was asked, with the examples shown.
        answer: What was answered.
        backend: Identity of the back end.
        strategy: The strategy that found the examples.
    """

    question: Question
    answer: Answer
    backend: str
    strategy: StrategyName


def find_neighbours(
    direction: Direction,
    query: str,
    count: int,
    options: RetrievalOptions,
    database: Database | None = None,
    *,
    default: StrategyName | None = None,
) -> Found:
    """Search a pool.

    Args:
        direction: What kind of query this is.
        query: A SMILES or a description.
        count: Most pairs to find.
        options: Pool and strategy.
        database: A pool that is already open, in place of `options.pool`.
        default: The strategy where the options name none; the direction's standard one by default.

    Raises:
        InputError: The query or the pool cannot be read, or the strategy does not take such queries.
    """
    from molregpt.database import open_database

    if count < 0:
        raise InputError(f"the number of examples must not be negative, got {count}")
    if direction == "mol2cap":
        from molindex.smiles import parse_smiles

        parse_smiles(query)  # before a pool is opened
    strategy = options.strategy or default or STANDARD[direction]
    if not count:
        return Found(direction, strategy, query, ())
    database = database or open_database(options.pool)
    retriever = create_retriever(strategy, database, direction, seed=options.retrieval_seed)
    itself = _find_itself(direction, query, database) if options.exclude_self else frozenset()
    examples = tuple(retriever.retrieve(query, count, itself))
    in_words = direction == "cap2mol" and strategy in ("bm25", "char-bm25", "learned")
    if in_words and not (examples and examples[0].similarity > 0):
        raise InputError(f"no description of the pool has a word of {query[:60]!r}")
    return Found(direction, strategy, query, examples)


def ask(
    direction: Direction, query: str, backend: str, shots: int, options: RetrievalOptions, settings: BackendOptions
) -> Grounded:
    """Answer one question, grounded in the pairs of a pool that are most like it.

    Args:
        direction: What is asked for.
        query: A SMILES or a description.
        backend: `neighbour`, `local`, the folder of a model, or the URL of a server.
        shots: Most examples to show.
        options: Where examples come from.
        settings: How the back end is used.

    Raises:
        InputError: Query, pool, strategy or back end cannot be used.
    """
    import asyncio

    from molregpt.backends import create_backend
    from molregpt.database import open_database

    if direction == "mol2cap":
        from molindex.smiles import parse_smiles

        parse_smiles(query)  # a wrong SMILES is told before a model is loaded

    @cache
    def pool() -> Database:
        return open_database(options.pool)

    answerer = create_backend(backend, settings, pool)
    if direction == "cap2mol" and _is_molecule(query):
        # Words of a SMILES are found in names, so the answer would be nonsense without an error.
        note = f"molregpt: {query[:60]!r} is a molecule where a description is expected; `caption` describes molecules"
        messages().print(note, markup=False, highlight=False, soft_wrap=True)
    found = find_neighbours(direction, query, shots, options, pool() if shots > 0 else None, default=FOR_ANSWERS)
    itself = _find_itself(direction, query, pool()) if options.exclude_self else frozenset()
    question = Question(direction, query, found.examples, next((pool().pairs[row].smiles for row in itself), ""))

    async def answer() -> Answer:
        try:
            return await answerer.answer(question)
        finally:
            await answerer.close()

    return Grounded(question, asyncio.run(answer()), answerer.identity, found.strategy)


def _find_itself(direction: Direction, query: str, database: Database) -> frozenset[int]:
    """The rows of the pool that say what is asked, and so the answer."""
    return database.rows_of(smiles=query) if direction == "mol2cap" else database.rows_of(caption=query)


def _is_molecule(query: str) -> bool:
    from molindex.smiles import SmilesError, parse_smiles

    try:
        parse_smiles(query)
    except SmilesError:
        return False
    return True


def guess_direction(query: str, strategy: StrategyName | None = None) -> Direction:
    """Tell a molecule from a description.

    Text with white space inside is a description, and so is a single word that is no SMILES; whatever else RDKit does
    not read is taken for a SMILES with a mistake. A strategy that takes only one kind decides before that.

    Raises:
        InputError: The query is empty.
    """
    from molindex.smiles import SmilesError, parse_smiles
    from molregpt.retrieval.strategies import strategies_for

    if not query.strip():
        raise InputError("the query is empty")
    if strategy is not None and not (strategy in strategies_for("mol2cap") and strategy in strategies_for("cap2mol")):
        return "mol2cap" if strategy in strategies_for("mol2cap") else "cap2mol"
    if len(query.split()) > 1:
        return "cap2mol"
    try:
        parse_smiles(query)
    except SmilesError:
        return "cap2mol" if _WORD.fullmatch(query.strip()) else "mol2cap"
    return "mol2cap"
