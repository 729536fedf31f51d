"""How commands print: one JSON object, or text and tables for people."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from molregpt.asking import Found, Grounded
    from molregpt.database import CachedIndex
    from molregpt.evaluation.results import Evaluation, Scores
    from molregpt.metrics.statistics import Score
    from molregpt.records import Direction, Example, Origin

_SHOWN_NEIGHBOURS = 5
_COUNTED: Mapping[Origin, str] = {
    "model": "passed every check at once",
    "repaired": "passed when asked again",
    "ranked": "the best of several answers",
    "composed": "put together from several answers",
    "candidate": "passed not every check",
    "borrowed": "a neighbour's, which was preferred to the model's",
    "related": "a molecule akin to the neighbours'",
    "neighbour": "copied from the neighbour",
}


def print_json(value: Mapping[str, object]) -> None:
    """Print exactly one JSON object on stdout."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def print_found(found: Found, *, as_json: bool) -> None:
    """Print what a search found."""
    if as_json:
        print_json(
            {
                "direction": found.direction,
                "query": found.query,
                "strategy": found.strategy,
                "neighbours": _examples_json(found.examples),
            }
        )
        return
    _print_neighbours(found.examples, found.direction, found.strategy)


def print_grounded(grounded: Grounded, *, as_json: bool) -> None:
    """Print an answer, then the neighbours that it was grounded in."""
    question, answer = grounded.question, grounded.answer
    if as_json:
        described = question.direction == "mol2cap"
        print_json(
            {
                "direction": question.direction,
                "smiles": question.query if described else answer.text,
                "caption": answer.text if described else question.query,
                "origin": answer.origin,
                "attempts": answer.attempts,
                "notes": list(answer.notes),
                "usage": asdict(answer.usage),
                "backend": grounded.backend,
                "strategy": grounded.strategy,
                "neighbours": _examples_json(question.examples),
            }
        )
        return
    # The answer stands alone on the first line, unwrapped, so that a pipe can take it.
    print(answer.text)
    sys.stdout.flush()
    if question.examples:
        print()
        _print_neighbours(question.examples[:_SHOWN_NEIGHBOURS], question.direction, grounded.strategy)
    _print_origin(grounded)


def _print_origin(grounded: Grounded) -> None:
    from rich.console import Console

    from molregpt.backends import name_backend

    answer = grounded.answer
    failed = f", as the model gave no answer in {answer.attempts} attempts" if answer.attempts else ""
    told = {
        "model": "the model's own answer",
        "repaired": f"the model's answer after {answer.attempts} attempts",
        "ranked": f"the best of {answer.attempts} answers of the model",
        "composed": f"put together from {answer.attempts} answers of the model and its neighbours', if any",
        "candidate": f"the best of {answer.attempts} attempts; none passed every check",
        "borrowed": f"a neighbour's text, which was preferred to {answer.attempts} answers of the model",
        "related": f"a molecule akin to the neighbours', which ranked above {answer.attempts} answers of the model",
        "neighbour": f"copied from the nearest neighbour{failed}",
    }[answer.origin]
    cost = f", cost {answer.usage.cost:.4g}" if answer.usage.cost else ""
    console = Console(highlight=False)
    lines = [f"{told} (back end: {name_backend(grounded.backend)}{cost})", *answer.notes]
    console.print("\n" + "\n".join(lines), style="dim", markup=False, soft_wrap=True)


def _print_neighbours(examples: Sequence[Example], direction: Direction, strategy: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    kind = "molecules" if direction == "mol2cap" else "descriptions"
    table = Table(title=f"Nearest {kind} ({strategy})", title_justify="left", title_style="bold", show_lines=True)
    # BM25 and rank fusion have no scale of their own: their figures compare within one query only.
    scale = "Similarity" if strategy in ("morgan", "rdkit", "dense") else "Score"
    if strategy == "learned":
        scale = "Expected overlap"
    table.add_column(scale, justify="right", no_wrap=True)
    table.add_column("Key", no_wrap=True)
    table.add_column("Molecule", overflow="fold", ratio=2)
    table.add_column("Description", overflow="fold", ratio=3)
    for example in examples:
        # Text, not markup: brackets are part of SMILES and of names.
        pair = example.pair
        table.add_row(f"{example.similarity:.3f}", Text(pair.key), Text(pair.smiles), Text(pair.caption))
    Console(highlight=False).print(table)


def _examples_json(examples: Sequence[Example]) -> list[dict[str, object]]:
    return [{"similarity": example.similarity, **asdict(example.pair)} for example in examples]


def print_indexes(folder: Path, indexes: Sequence[CachedIndex], *, as_json: bool) -> None:
    """Print what the cache holds."""
    if as_json:
        print_json({"cache": str(folder), "indexes": [asdict(index) for index in indexes]})
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Indexes in {folder}", title_justify="left", title_style="bold")
    table.add_column("Pool", no_wrap=True)
    table.add_column("Index", overflow="fold")
    table.add_column("Size", justify="right", no_wrap=True)
    for index in indexes:
        table.add_row(index.pool, index.name, f"{index.size / 1e6:.1f} MB")
    Console(highlight=False).print(table)


def print_evaluation(evaluation: Evaluation, folder: Path, *, as_json: bool) -> None:
    """Print the scores of a run and where its files are."""
    if as_json:
        print_json(evaluation.as_json())
        return
    print_scores(evaluation)
    print(folder / "report.html")


def print_scores(evaluation: Evaluation) -> None:
    """Print the scores of a run beside the neighbour baseline."""
    from molregpt.backends import name_backend

    backend = name_backend(evaluation.settings.backend)
    title = f"{evaluation.settings.direction}, {len(evaluation.rows):,} rows, {backend}"
    _print_score_table(title, evaluation.scores.metrics(), evaluation.baseline.metrics())
    if backend != "neighbour":
        # Scores of a model that mostly failed are the neighbour's scores: that must not be found out later.
        counts = ", ".join(f"{count:,} {_COUNTED[origin]}" for origin, count in evaluation.origins.items() if count)
        print(f"Answers: {counts}")


def _print_score_table(title: str, scores: Mapping[str, Score], baseline: Mapping[str, Score] | None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", title_style="bold")
    table.add_column("Metric", no_wrap=True)
    for name in ("Score", "95 % interval", "Neighbour", "n") if baseline else ("Score", "95 % interval", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, score in scores.items():
        copied = (f"{baseline[name].value:.3f}",) if baseline else ()
        table.add_row(name, f"{score.value:.3f}", f"{score.low:.3f} - {score.high:.3f}", *copied, f"{score.n:,}")
    Console(highlight=False).print(table)


def print_file_scores(scores: Scores, title: str, folder: Path, *, as_json: bool) -> None:
    """Print the scores of a predictions file and where they were written."""
    if as_json:
        print_json(scores.as_json())
        return
    _print_score_table(title, scores.metrics(), None)
    print(folder / "scores.json")
