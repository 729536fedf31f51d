"""An evaluation from its pairs to its files."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from molregpt.errors import InputError
from molregpt.evaluation.journal import Journal
from molregpt.evaluation.progress import RunProgress
from molregpt.evaluation.results import Evaluation, score_rows, write_results
from molregpt.evaluation.run import Examiner, examine_rows, total_usage
from molregpt.evaluation.settings import RunSettings, open_run_folder, write_settings
from molregpt.records import Usage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from molregpt.backends import BackendOptions
    from molregpt.database import Database
    from molregpt.evaluation.options import EvaluationOptions
    from molregpt.records import Direction, Pair

ROWS_FILE = "rows.jsonl"
REPLIES_FILE = "replies.sqlite"


def evaluate_pairs(
    direction: Direction,
    pairs: Sequence[Pair],
    database: Database,
    out: Path,
    backend: str,
    options: EvaluationOptions,
    settings: BackendOptions,
    spent: Usage | None = None,
) -> Evaluation:
    """Answer the pairs, and score the answers beside the neighbour baseline.

    Writes scores.json and rows.jsonl into `out`. A run that was stopped, however, is continued by the same call: rows
    that were answered are not asked again, and neither is a server for a reply that it has given (kept in `out` too,
    unless the settings name another cache).

    Args:
        direction: Which way the questions go.
        pairs: What is asked, with the right answers.
        database: Where examples come from.
        out: The run's folder.
        backend: `neighbour`, `local`, the folder of a model, or the URL of a server.
        options: How the run is made.
        settings: How the back end is used; its budget is for all runs that made the folder together.
        spent: What counts against the budget, too.

    Raises:
        InputError: A strategy or the back end cannot be used, or `out` holds a run with other settings.
    """
    from molregpt.backends import ServerBackend, create_backend
    from molregpt.database import digest_pairs
    from molregpt.retrieval.strategies import FOR_ANSWERS, STANDARD, create_retriever

    if direction == "mol2cap":
        _check_queries(pairs)
    if settings.server.cache is None:
        settings = replace(settings, server=replace(settings.server, cache=out / REPLIES_FILE))
    answerer = create_backend(backend, settings, lambda: database)
    standard = STANDARD[direction]
    strategy = options.strategy or FOR_ANSWERS
    retriever = create_retriever(strategy, database, direction, seed=options.retrieval_seed)
    nearest = retriever if strategy == standard else create_retriever(standard, database, direction)
    run = RunSettings(
        direction=direction,
        test=digest_pairs(pairs),
        pool=database.digest,
        backend=answerer.identity,
        retrieval=retriever.identity,
        shots=options.shots,
    )
    rows_file = out / ROWS_FILE
    open_run_folder(out, run, begun=_holds_rows(rows_file))
    examiner = Examiner(database, retriever, nearest, answerer, direction=direction, shots=options.shots)
    with Journal(rows_file) as journal:
        # Now that no other process can: rows of another run may have come in since the folder was looked at.
        if journal.rows:
            open_run_folder(out, run)
        else:
            write_settings(out, run)
        _check_journal(journal, pairs)
        if isinstance(answerer, ServerBackend):
            answerer.charge((spent or Usage()) + total_usage(journal.rows.values()))

        async def examine() -> None:
            try:
                with RunProgress(f"Evaluating {direction}", len(pairs), len(journal.rows)) as progress:
                    await examine_rows(
                        pairs, examiner, journal, concurrency=settings.server.concurrency, report=progress
                    )
            finally:
                await answerer.close()

        asyncio.run(examine())
        rows = [journal.rows[position] for position in range(len(pairs))]
    evaluation = score_rows(run, rows)
    write_results(out, evaluation)
    return evaluation


def _holds_rows(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _check_queries(pairs: Sequence[Pair]) -> None:
    """Find molecules that cannot be asked about before the first question is paid for."""
    from molindex.smiles import SmilesError, parse_smiles

    for number, pair in enumerate(pairs, start=1):
        try:
            parse_smiles(pair.smiles)
        except SmilesError as error:
            raise InputError(f"row {number} of the test table ({pair.key}): {error}") from None


def _check_journal(journal: Journal, pairs: Sequence[Pair]) -> None:
    for position, row in journal.rows.items():
        if position >= len(pairs) or pairs[position].key != row.key:
            raise InputError(f"{journal.path}: row {row.key} is not at place {position} of the test table")
