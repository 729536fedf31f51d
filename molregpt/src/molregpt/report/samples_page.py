"""The page of answered samples: molecules described and molecules proposed, beside what is true."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from molregpt.errors import InputError
from molregpt.evaluation.options import EvaluationOptions
from molregpt.records import Direction, Usage
from molregpt.report.page import write_page
from molregpt.report.views import TITLES, Fact, MetricView, SampleView, view_metrics, view_provenance, view_row

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from molregpt.backends import BackendOptions
    from molregpt.database import Database
    from molregpt.evaluation.results import Evaluation

_LEADS: Mapping[Direction, str] = {
    "mol2cap": "A molecule is given, its description is asked for. Words that the reference says too are marked.",
    "cap2mol": "A description is given, a molecule is asked for. Atoms are marked where their surroundings, two bonds "
    "far, occur in the other drawing too.",
}
_LEGENDS: Mapping[Direction, str] = {
    "mol2cap": "Neighbours are the nearest by Morgan fingerprints, sorted by how much of the right answer theirs is "
    "likely to hold; what they share with the query is marked.",
    "cap2mol": "Neighbours are the nearest by BM25 over their descriptions, sorted by how much of the right answer "
    "theirs is likely to hold; what they share with the reference is marked.",
}
_CREDITS = (
    "Descriptions are ChEBI's, CC BY 4.0 (Hastings et al., Nucleic Acids Research 44, 2016, D1214), through PubChem "
    "(Kim et al., Nucleic Acids Research 51, 2023, D1373) and ChEBI-20 (Edwards et al., EMNLP 2021). Samples are rows "
    "of the ChEBI-20 test split; none of these molecules is in the pool that is searched."
)


@dataclass(frozen=True, slots=True)
class Section:
    """One direction of the page."""

    direction: Direction
    title: str
    lead: str
    legend: str
    metrics: tuple[MetricView, ...]
    samples: tuple[SampleView, ...]


def make_samples(
    out: Path, backend: str, settings: BackendOptions, *, shots: int = 10, count: int = 12, seed: int = 0
) -> tuple[Evaluation, ...]:
    """Answer the shipped sample questions both ways and write the page `out/index.html`.

    Every sample is answered and counts in the scores; which ones the page shows is drawn by `seed` alone. The runs'
    own files lie in `out/mol2cap` and `out/cap2mol`; a run that was stopped is continued.

    Args:
        out: The folder to write to.
        backend: `neighbour`, `local`, the folder of a model, or the URL of a server.
        settings: How the back end is used.
        shots: Examples shown with each question.
        count: Samples of each direction on the page.
        seed: Draws them.

    Returns:
        The evaluation of each direction.

    Raises:
        InputError: The back end cannot be used, or the folder cannot be written.
    """
    from molregpt.data.shipped import sample_pairs
    from molregpt.database import open_database
    from molregpt.evaluation.evaluate import evaluate_pairs
    from molregpt.evaluation.run import total_usage
    from molregpt.report.run_report import write_run_report

    pairs = sample_pairs()
    if not 1 <= count <= len(pairs):
        raise InputError(f"a page shows 1 to {len(pairs)} samples, not {count}")
    database = open_database()
    options = EvaluationOptions(shots=shots)
    evaluations: list[Evaluation] = []
    directions: tuple[Direction, ...] = ("mol2cap", "cap2mol")
    for direction in directions:
        folder = out / direction
        spent = sum((total_usage(evaluation.rows) for evaluation in evaluations), Usage())
        evaluation = evaluate_pairs(direction, pairs, database, folder, backend, options, settings, spent)
        write_run_report(folder / "report.html", evaluation, database)
        evaluations.append(evaluation)
    _write_samples_page(out / "index.html", evaluations, database, count, seed)
    return tuple(evaluations)


def _write_samples_page(path: Path, evaluations: list[Evaluation], database: Database, count: int, seed: int) -> None:
    from molregpt.backends import name_backend, name_model

    pool = {pair.key: pair for pair in database.pairs}
    first = evaluations[0]
    rows = len(first.rows)
    drawn = sorted(random.Random(seed).sample(range(rows), count))  # noqa: S311 - a draw of samples, not a secret
    sections = [
        Section(
            direction=evaluation.settings.direction,
            title=TITLES[evaluation.settings.direction],
            lead=_LEADS[evaluation.settings.direction],
            legend=_LEGENDS[evaluation.settings.direction],
            metrics=tuple(view_metrics(evaluation)),
            samples=tuple(view_row(evaluation, position, pool) for position in drawn),
        )
        for evaluation in evaluations
    ]
    copied = ""
    if first.settings.backend == "neighbour":
        copied = " It copies, of the nearest neighbours, the one whose answer is likely to fit best."
    write_page(
        path,
        "samples.html.j2",
        {
            "title": "Molecules and their descriptions, both ways",
            "lead": f"{rows} questions whose molecules are not in the pool, answered by the back end "
            f"{name_backend(first.settings.backend)}.{copied} Scores are over all {rows}; the {count} shown were drawn "
            f"by seed {seed}, not picked.",
            "facts": [
                Fact("questions each way", str(rows)),
                Fact("pairs in the pool", f"{len(database.pairs):,}"),
                Fact("examples shown with each", str(first.settings.shots)),
                Fact("back end", name_model(first.settings.backend)),
            ],
            "sections": sections,
            "credits": _CREDITS,
            "provenance": view_provenance(first),
        },
    )
