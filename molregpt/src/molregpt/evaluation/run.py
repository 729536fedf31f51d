"""Asking a back end every question of a test table: bounded, resumable, never the same row twice."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from molregpt.backends.protocol import NoExampleError
from molregpt.evaluation.rows import EvaluatedRow, Neighbour
from molregpt.records import Answer, Question, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from molregpt.backends.protocol import Backend
    from molregpt.database import Database
    from molregpt.evaluation.journal import Journal
    from molregpt.records import Direction, Pair
    from molregpt.retrieval.base import Retriever


class Examiner:
    """Turns a row of the test table into a question, asks it, and notes what copying would have said.

    The tested molecule never helps itself: rows of the pool with its key or its canonical SMILES are not retrieved.
    """

    def __init__(
        self,
        database: Database,
        retriever: Retriever,
        nearest: Retriever,
        backend: Backend,
        *,
        direction: Direction,
        shots: int,
    ) -> None:
        """Bring together what a run needs.

        Args:
            database: The pool.
            retriever: Finds the examples that are shown.
            nearest: Finds the neighbour of the baseline; always the direction's standard strategy, so that the
                baseline stays the same whatever strategy is tried.
            backend: Answers.
            direction: Which way the questions go.
            shots: Examples shown with each question.
        """
        self._database = database
        self._retriever = retriever
        self._nearest = nearest
        self._backend = backend
        self._direction = direction
        self._shots = shots

    async def examine(self, position: int, pair: Pair) -> EvaluatedRow:
        """Ask about one row.

        Raises:
            InputError: The row cannot be asked about, or the back end failed for good.
        """
        query, reference = pair.asked(self._direction), pair.answered(self._direction)
        exclude = self._database.rows_of(key=pair.key, smiles=pair.smiles)
        examples = self._retriever.retrieve(query, self._shots, exclude) if self._shots else []
        copied = examples[:1] if self._nearest is self._retriever and examples else None
        if copied is None:
            copied = self._nearest.retrieve(query, 1, exclude)
        question = Question(self._direction, query, tuple(examples), withheld=pair.smiles)
        try:
            answer = await self._backend.answer(question)
        except NoExampleError:
            if not self._shots:
                raise
            # Nothing in the pool is like this one: that is the system's answer, and no reason to stop before the rest.
            answer = Answer("", origin="neighbour")
        return EvaluatedRow(
            position=position,
            key=pair.key,
            query=query,
            reference=reference,
            answer=answer,
            baseline=question.target_of(copied[0].pair) if copied else "",
            similarity=copied[0].similarity if copied else 0.0,
            neighbours=tuple(Neighbour(example.pair.key, example.similarity) for example in examples),
        )


async def examine_rows(
    pairs: Sequence[Pair],
    examiner: Examiner,
    journal: Journal,
    *,
    concurrency: int,
    report: Callable[[EvaluatedRow], None],
) -> None:
    """Ask about every row that the journal does not hold yet.

    Args:
        pairs: The test table.
        examiner: Asks.
        journal: Receives each row as soon as it is answered.
        concurrency: Most questions open at once.
        report: Called with each new row.

    Raises:
        InputError: The first failure; questions that were open are given up, answered rows stay in the journal.
    """
    waiting = iter([(position, pair) for position, pair in enumerate(pairs) if position not in journal.rows])

    async def work() -> None:
        # All workers draw from one iterator, so a slow answer holds up one worker and no list of tasks grows.
        for position, pair in waiting:
            row = await examiner.examine(position, pair)
            journal.append(row)
            report(row)
            # A back end that answers without waiting would otherwise starve Ctrl-C and the progress display.
            await asyncio.sleep(0)

    workers = [asyncio.create_task(work()) for _ in range(concurrency)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


def total_usage(rows: Iterable[EvaluatedRow]) -> Usage:
    """What all answers together have cost."""
    return sum((row.answer.usage for row in rows), Usage())
