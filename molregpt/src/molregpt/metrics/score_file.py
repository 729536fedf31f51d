"""Scoring a file of predictions against a test table, whoever made the predictions.

`OUT/scores.json` is one object: the metrics by name (`bleu2`, `bleu4`, `rouge1`, `rouge2`, `rougeL`, `meteor`,
`relation_precision`, `relation_recall`, `relation_f1`, or `bleu`, `exact`, `levenshtein`, `maccs`, `rdk`, `morgan`,
`validity`), each `{"value", "low", "high", "n"}`; then `direction`, `rows`, `unused_predictions`, `bootstrap`,
`versions`; for captions `tokenizer` and `relations` (by kind: `precision`, `recall`, `f1`, and the numbers `right`,
`predicted`, `expected`); for molecules `mode`, `backslashes`, `all_rows`, `invalid_predictions`, `invalid_references`,
`without_inchi`.

`OUT/rows.jsonl` has one object a row of the test table, in its order: `key`, `query`, `reference`, `prediction` and
`scores`, the row's own metrics by the same names (null where it has none; for molecules also `reference_validity`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from molregpt.data.table import CHEBI20_COLUMNS, Columns, read_pairs, read_table
from molregpt.errors import InputError
from molregpt.files import make_folder
from molregpt.metrics.captions import CaptionScores, score_captions
from molregpt.metrics.molecules import Mode, MoleculeScores, score_molecules
from molregpt.metrics.statistics import DEFAULT_RESAMPLING, Resampling
from molregpt.records import Question
from unitlm.files import write_text

if TYPE_CHECKING:
    from pathlib import Path

    from molregpt.records import Direction

PREDICTION_COLUMNS: dict[Direction, str] = {"mol2cap": "caption_prediction", "cap2mol": "smiles_prediction"}
"""The column of a predictions table that holds what a direction asks for."""


def score_file(
    direction: Direction,
    test: Path,
    predictions: Path,
    out: Path,
    *,
    columns: Columns = CHEBI20_COLUMNS,
    tokenizer: str = "scibert",
    mode: Mode = "strict",
    resampling: Resampling = DEFAULT_RESAMPLING,
) -> CaptionScores | MoleculeScores:
    """Score a table of predictions and write `scores.json` and `rows.jsonl` (see the module's docstring).

    Args:
        direction: What was asked.
        test: The table with the references.
        predictions: A table with the test table's key column and `caption_prediction` or `smiles_prediction`. An empty
            prediction is scored as such; rows whose key is not in the test table are counted and left out.
        out: The folder to write to; made when missing.
        columns: The columns of the test table.
        tokenizer: See `molregpt.metrics.tokenization.load_tokenizer`; captions only.
        mode: See `molregpt.metrics.molecules`; molecules only.
        resampling: How the intervals are made.

    Returns:
        The scores.

    Raises:
        InputError: A table is wrong, a row of the test table has no prediction or two, or `out` cannot be written.
    """
    pairs = read_pairs(test, columns)
    predicted = _read_predictions(predictions, columns.key, PREDICTION_COLUMNS[direction])
    missing = [pair.key for pair in pairs if pair.key not in predicted]
    if missing:
        name = f"{columns.key} {missing[0]}"
        raise InputError(f"{predictions}: no prediction for {len(missing)} of {len(pairs)} rows; the first is {name}")
    make_folder(out)
    # A question without examples knows which side of a pair is asked for.
    question = Question(direction, "", ())
    texts = [predicted[pair.key] for pair in pairs]
    references = [question.target_of(pair) for pair in pairs]
    scores: CaptionScores | MoleculeScores
    if direction == "mol2cap":
        scores = score_captions(texts, references, tokenizer=tokenizer, resampling=resampling)
    else:
        scores = score_molecules(texts, references, mode=mode, resampling=resampling)
    rows = zip(pairs, references, texts, [row.as_json() for row in scores.rows], strict=True)
    lines = (
        {"key": pair.key, "query": question.source_of(pair), "reference": reference, "prediction": text, "scores": row}
        for pair, reference, text, row in rows
    )
    summary = {"direction": direction} | scores.as_json() | {"unused_predictions": len(predicted) - len(pairs)}
    write_text(out / "rows.jsonl", "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    write_text(out / "scores.json", json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    return scores


def _read_predictions(path: Path, key_column: str, prediction_column: str) -> dict[str, str]:
    table = read_table(path)
    key_at, prediction_at = table.require(key_column), table.require(prediction_column)
    predictions: dict[str, str] = {}
    for row in table.rows:
        key = table.cell(row, key_at)
        if key in predictions:
            raise InputError(f"{path}, line {row.number}: a second prediction for {key_column} {key}")
        predictions[key] = row.cells[prediction_at].strip()
    return predictions
