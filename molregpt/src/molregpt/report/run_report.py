"""report.html of an evaluation: scores beside the baseline, what they depend on, and the rows that went worst."""

from __future__ import annotations

from typing import TYPE_CHECKING

from molregpt.report.page import write_page
from molregpt.report.views import LABELS, TITLES, Fact, view_metrics, view_provenance, view_row

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from molregpt.database import Database
    from molregpt.evaluation.results import Evaluation
    from molregpt.records import Direction, Origin

_ROW_SCORE: Mapping[Direction, str] = {"mol2cap": "rougeL", "cap2mol": "morgan"}
_SIMILARITIES: Mapping[Direction, str] = {
    "mol2cap": "Dice similarity of the nearest molecule (Morgan fingerprints)",
    "cap2mol": "BM25 score of the nearest description",
}
_ORIGINS: Mapping[Origin, str] = {
    "model": "the model's first answer passed every check",
    "repaired": "the model was asked again after a check failed",
    "ranked": "another answer of the model ranked above its first",
    "composed": "put together from several answers of the model and from its neighbours'",
    "candidate": "no answer passed every check; the best one counts",
    "borrowed": "a neighbour's text was preferred to all that the model wrote",
    "related": "a known molecule akin to the neighbours', or a form of one, ranked above all that the model wrote",
    "neighbour": "copied from the nearest neighbour",
}
_WORST = 8


def write_run_report(path: Path, evaluation: Evaluation, database: Database) -> None:
    """Write the report of a run as one HTML file that needs nothing else.

    Args:
        path: The file.
        evaluation: The run.
        database: The pool that it retrieved from.

    Raises:
        InputError: The folder cannot be written.
    """
    from markupsafe import Markup

    from molregpt.backends import name_backend
    from molregpt.report.plots import plot_similarity

    direction = evaluation.settings.direction
    score = _ROW_SCORE[direction]
    answers = [_row_score(row.as_json()[score]) for row in evaluation.scores.rows]
    copies = [_row_score(row.as_json()[score]) for row in evaluation.baseline.rows]
    plot = plot_similarity(
        [row.similarity for row in evaluation.rows],
        answers,
        copies,
        x_label=_SIMILARITIES[direction],
        y_label=LABELS[score],
    )
    pool = {pair.key: pair for pair in database.pairs}
    # Worst first; equal scores in the order of the table, so that the page does not depend on chance.
    worst = sorted(range(len(answers)), key=lambda position: (answers[position], position))[:_WORST]
    write_page(
        path,
        "report.html.j2",
        {
            "title": f"{TITLES[direction]}: {len(evaluation.rows):,} rows",
            "lead": f"Answered by {name_backend(evaluation.settings.backend)}, grounded in "
            f"{evaluation.settings.shots} retrieved examples from a pool of {len(database.pairs):,} pairs.",
            "facts": _view_facts(evaluation, len(database.pairs)),
            "metrics": view_metrics(evaluation),
            "plot": Markup(plot),  # noqa: S704 - drawn by us from numbers alone
            "plot_caption": f"A point is a row (1,500 at most are drawn): {LABELS[score]} of its answer against how "
            "near its nearest neighbour is. The lines are means over tenths of all rows.",
            "origins": [
                {"name": origin, "count": count, "meaning": _ORIGINS[origin]}
                for origin, count in evaluation.origins.items()
            ],
            "worst": [view_row(evaluation, position, pool) for position in worst],
            "worst_caption": f"The {len(worst)} rows with the lowest {LABELS[score]}. In an answer, words that the "
            "reference says too are marked; in a drawing, the surroundings that it shares.",
            "provenance": view_provenance(evaluation),
        },
    )


def _row_score(value: float | bool | None) -> float:
    """An unreadable molecule is as unlike its reference as can be."""
    return float(value or 0.0)


def _view_facts(evaluation: Evaluation, pool: int) -> list[Fact]:
    from molregpt.backends import name_model
    from molregpt.evaluation.run import total_usage

    usage = total_usage(evaluation.rows)
    facts = [
        Fact("rows", f"{len(evaluation.rows):,}"),
        Fact("pairs in the pool", f"{pool:,}"),
        Fact("back end", name_model(evaluation.settings.backend)),
        Fact("examples shown", str(evaluation.settings.shots)),
    ]
    invalid = evaluation.scores.as_json().get("invalid_predictions")
    if invalid is not None:
        facts.append(Fact("invalid answers", f"{invalid:,}"))
    if usage.requests or usage.cached:
        facts.append(Fact("requests, of which from the cache", f"{usage.requests + usage.cached:,}, {usage.cached:,}"))
        facts.append(Fact("tokens", f"{usage.prompt_tokens + usage.completion_tokens:,}"))
    if usage.cost:
        facts.append(Fact("cost", f"{usage.cost:.4g}"))
    return facts
