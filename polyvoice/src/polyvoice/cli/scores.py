"""How the scores of an evaluation are printed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rich.console import Console

    from polyvoice.evaluation.results import Evaluation, Scores
    from polyvoice.evaluation.statistics import Score


def print_evaluation(evaluation: Evaluation, out: Path, *, as_json: bool) -> None:
    """Print scores.json, or a table for each direction and what could not be computed."""
    if as_json:
        print(json.dumps(evaluation.as_json(), ensure_ascii=False, indent=2))
        return
    from rich.console import Console

    console = Console(highlight=False)
    for direction, scores in evaluation.directions.items():
        _print_scores(console, direction, scores)
    for metric, reason in evaluation.missing.items():
        console.print(f"not computed: {metric}: {reason}", style="dim", markup=False, soft_wrap=True)
    console.print(str(out / "scores.json"), markup=False, soft_wrap=True)


def _print_scores(console: Console, direction: str, scores: Scores) -> None:
    from rich.table import Table

    table = Table(title=direction, title_justify="left", title_style="bold")
    for column in ("Metric", "Score", "95 % interval", "Reference speech", "n"):
        table.add_column(column, justify="left" if column == "Metric" else "right", no_wrap=True)

    def add(output: Mapping[str, Score], ceiling: Mapping[str, Score], suffix: str = "") -> None:
        for name, score in output.items():
            reached = f"{ceiling[name].value:.3f}" if name in ceiling else ""
            interval = f"{score.low:.3f} - {score.high:.3f}"
            table.add_row(f"{name}{suffix}", f"{score.value:.3f}", interval, reached, str(score.n))

    add(scores.output, scores.ceiling)
    # The first recogniser's scores stand above already.
    for name, heard in list(scores.recognizers.items())[1:]:
        add(heard.output, heard.ceiling, f" ({name})")
    console.print(table)
