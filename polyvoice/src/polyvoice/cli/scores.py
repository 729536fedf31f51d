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
    table.add_column("Metric")
    for column in ("Score", "95 % interval", "Reference", "n"):
        table.add_column(column, justify="right", no_wrap=True)

    def add(output: Mapping[str, Score], ceiling: Mapping[str, Score], suffix: str = "") -> None:
        for name, score in output.items():
            reached = _write(name, ceiling[name].value) if name in ceiling else ""
            interval = f"{_write(name, score.low)} - {_write(name, score.high)}"
            table.add_row(f"{name}{suffix}", _write(name, score.value), interval, reached, str(score.n))

    add(scores.output, scores.ceiling)
    # The first recogniser's scores stand above already.
    for name, heard in list(scores.recognizers.items())[1:]:
        add(heard.output, heard.ceiling, f", {name}")
    console.print(table)


def _write(name: str, value: float) -> str:
    return f"{value:.1f}" if name in ("asr_bleu", "chrf") else f"{value:.3f}"
