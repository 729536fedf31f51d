"""A test table from its file to the report on a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from molregpt.backends import BackendOptions
    from molregpt.evaluation.options import EvaluationOptions
    from molregpt.evaluation.results import Evaluation
    from molregpt.records import Direction


def evaluate(
    direction: Direction, test: Path, out: Path, backend: str, options: EvaluationOptions, settings: BackendOptions
) -> Evaluation:
    """Answer a test table, score the answers, and write report.html beside the other files of the run.

    Args:
        direction: Which way the questions go.
        test: The test table.
        out: The run's folder; see `molregpt.evaluation.evaluate.evaluate_pairs`.
        backend: `neighbour`, `local`, the folder of a model, or the URL of a server.
        options: How the run is made.
        settings: How the back end is used.

    Raises:
        InputError: A table, a strategy or the back end cannot be used, or `out` holds a run with other settings.
    """
    from molregpt.data.table import read_pairs
    from molregpt.database import open_database
    from molregpt.evaluation.evaluate import evaluate_pairs
    from molregpt.report.run_report import write_run_report

    pairs = read_pairs(test)
    database = open_database(options.pool)
    evaluation = evaluate_pairs(direction, pairs[: options.limit or None], database, out, backend, options, settings)
    write_run_report(out / "report.html", evaluation, database)
    return evaluation
