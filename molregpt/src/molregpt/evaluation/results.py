"""What an evaluation found, and the files that say so."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, get_args

from molregpt.evaluation.run import total_usage
from molregpt.records import Direction, Origin
from unitlm.files import write_text

if TYPE_CHECKING:
    from pathlib import Path

    from molregpt.evaluation.rows import EvaluatedRow
    from molregpt.evaluation.settings import RunSettings
    from molregpt.metrics.captions import CaptionScores
    from molregpt.metrics.molecules import MoleculeScores

    Scores = CaptionScores | MoleculeScores


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A finished run.

    Attributes:
        settings: What it was run with.
        rows: Every row in the order of the test table.
        scores: Scores of the answers.
        baseline: Scores of copying the nearest neighbour, on the same rows.
    """

    settings: RunSettings
    rows: tuple[EvaluatedRow, ...]
    scores: Scores
    baseline: Scores

    @property
    def origins(self) -> dict[Origin, int]:
        """How many answers came from where."""
        counted = Counter(row.answer.origin for row in self.rows)
        return {origin: counted[origin] for origin in get_args(Origin)}

    def versions(self) -> Mapping[str, str]:
        """Versions of everything that made the answers or their scores."""
        distributions = ("molregpt", "molindex", "rdkit", "bm25s", "faiss-cpu")
        return {name: version(name) for name in distributions} | dict(self.scores.versions)

    def as_json(self) -> dict[str, object]:
        """The contents of scores.json: one entry a metric, then the baseline, and what the figures depend on."""
        return self.scores.as_json() | {
            "direction": self.settings.direction,
            "baseline": self.baseline.as_json(),
            "settings": asdict(self.settings),
            "origins": self.origins,
            "usage": asdict(total_usage(self.rows)),
            "versions": dict(self.versions()),
        }


def score_rows(settings: RunSettings, rows: Sequence[EvaluatedRow]) -> Evaluation:
    """Score a run's answers, and the neighbours' own texts in their place.

    Raises:
        InputError: There is no row.
    """
    references = [row.reference for row in rows]
    answers, copies = [row.answer.text for row in rows], [row.baseline for row in rows]
    scores = score_answers(settings.direction, answers, references)
    # The back end `neighbour` is its own baseline; scoring 2,800 captions twice would cost a minute for nothing.
    baseline = scores if answers == copies else score_answers(settings.direction, copies, references)
    return Evaluation(settings, tuple(rows), scores, baseline)


def score_answers(direction: Direction, answers: Sequence[str], references: Sequence[str]) -> Scores:
    """Score captions or molecules against one reference each, as the direction demands.

    Raises:
        InputError: There is no row.
    """
    if direction == "mol2cap":
        from molregpt.metrics.captions import score_captions

        return score_captions(answers, references)
    from molregpt.metrics.molecules import score_molecules

    return score_molecules(answers, references)


def write_results(folder: Path, evaluation: Evaluation) -> None:
    """Write scores.json and rows.jsonl, the rows in the order of the test table and with the scores of each.

    Raises:
        InputError: The folder cannot be written.
    """
    scores = [row.as_json() for row in evaluation.scores.rows]
    baseline = [row.as_json() for row in evaluation.baseline.rows]
    lines = [
        json.dumps(asdict(row) | {"scores": own, "baseline_scores": copied}, ensure_ascii=False)
        for row, own, copied in zip(evaluation.rows, scores, baseline, strict=True)
    ]
    write_text(folder / "rows.jsonl", "".join(line + "\n" for line in lines))
    write_text(folder / "scores.json", json.dumps(evaluation.as_json(), indent=2, ensure_ascii=False) + "\n")
