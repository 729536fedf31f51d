"""A finished evaluation, read from its files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from polyvoice.errors import InputError
from polyvoice.evaluation.results import Evaluation, RecognizerScores, Scores
from polyvoice.evaluation.rows import EvaluatedRow
from polyvoice.evaluation.run_folder import ROWS_FILE, SCORES_FILE
from polyvoice.evaluation.statistics import Resampling, Score

if TYPE_CHECKING:
    from pathlib import Path

_SCORE = {"value", "low", "high", "n"}


def read_evaluation(folder: Path) -> Evaluation:
    """Read what `evaluate` has written; the scores are those of the file, rounded as they are there.

    Args:
        folder: the run's folder.

    Raises:
        InputError: there is no evaluation, or it is not finished.
    """
    try:
        written = json.loads((folder / SCORES_FILE).read_text("utf-8"))
        # Not splitlines(): a transcript may hold a line separator of Unicode.
        lines = (folder / ROWS_FILE).read_text("utf-8").split("\n")[:-1]
        evaluation = _parse(written, [EvaluatedRow.from_json(line) for line in lines])
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}; is the evaluation finished?") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{folder}: not the files of an evaluation ({error})") from None
    if len(evaluation.rows) != written["rows"]:
        found = f"{len(evaluation.rows)} rows where {SCORES_FILE} says {written['rows']}"
        raise InputError(f"{folder / ROWS_FILE}: {found}; run the evaluation to its end")
    return evaluation


def _parse(written: Any, rows: list[EvaluatedRow]) -> Evaluation:
    return Evaluation(
        rows=tuple(rows),
        scores=_parse_scores(written),
        directions={name: _parse_scores(entry) for name, entry in written["directions"].items()},
        missing=dict(written["missing"]),
        settings=dict(written["settings"]),
        versions=dict(written["versions"]),
        resampling=Resampling(written["resampling"]["samples"], written["resampling"]["seed"]),
    )


def _parse_scores(entry: Any) -> Scores:
    return Scores(
        output=_pick_scores(entry),
        ceiling=_pick_scores(entry["ceiling"]),
        recognizers={
            name: RecognizerScores(_pick_scores(heard), _pick_scores(heard["ceiling"]))
            for name, heard in entry["recognizers"].items()
        },
    )


def _pick_scores(entry: Any) -> dict[str, Score]:
    """Those entries that are scores; others stand beside them."""
    return {name: Score(**one) for name, one in entry.items() if isinstance(one, dict) and set(one) == _SCORE}
