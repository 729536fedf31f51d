"""Scoring a table of predictions: what is written, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from molregpt.assets import asset
from molregpt.data.shipped import sample_pairs
from molregpt.data.table import Columns
from molregpt.errors import InputError
from molregpt.metrics.captions import CAPTION_METRICS
from molregpt.metrics.molecules import MOLECULE_METRICS
from molregpt.metrics.score_file import score_file
from molregpt.metrics.statistics import Resampling

GOLDEN = Path(__file__).parent / "golden"
FEW = Resampling(samples=20)

TEST = "CID\tSMILES\tdescription\n1\tCCO\tan alcohol of two carbons\n2\tC/C=C\\\\C\tan alkene of four carbons\n"


@pytest.fixture
def test_table(tmp_path: Path) -> Path:
    path = tmp_path / "test.tsv"
    path.write_text(TEST)
    return path


def predict(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "predictions.tsv"
    path.write_text(text)
    return path


@pytest.mark.parametrize("direction", ["mol2cap", "cap2mol"])
def test_the_golden_predictions_give_the_golden_scores(tmp_path: Path, direction: str) -> None:
    test = tmp_path / "samples.tsv"
    test.write_bytes(asset("chebi20_samples.tsv").read_bytes())
    out = tmp_path / "made" / "here"
    returned = score_file(direction, test, GOLDEN / "predictions.tsv", out)
    written = json.loads((out / "scores.json").read_text())
    names = CAPTION_METRICS if direction == "mol2cap" else MOLECULE_METRICS
    golden = json.loads((GOLDEN / "scores.json").read_text())[direction]
    assert {name: written[name]["value"] for name in names} == pytest.approx(golden, abs=1e-9)
    assert {name: score.as_json() for name, score in returned.metrics().items()} == {n: written[n] for n in names}
    assert (written["direction"], written["rows"], written["unused_predictions"]) == (direction, 100, 0)
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    pairs = sample_pairs()
    assert [row["key"] for row in rows] == [pair.key for pair in pairs]
    sides = [(p.smiles, p.caption) if direction == "mol2cap" else (p.caption, p.smiles) for p in pairs]
    assert [(row["query"], row["reference"]) for row in rows] == sides
    assert set(names) <= set(rows[0]["scores"])
    assert sorted(path.name for path in out.iterdir()) == ["rows.jsonl", "scores.json"]


def test_order_extra_rows_and_empty_predictions(tmp_path: Path, test_table: Path) -> None:
    predictions = predict(tmp_path, "smiles_prediction\tCID\nC/C=C\\C\t2\nCC\t99\n\t1\n")
    scores = score_file("cap2mol", test_table, predictions, tmp_path / "out", resampling=FEW)
    assert [(row.valid, row.exact) for row in scores.rows] == [(False, False), (True, True)]
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["unused_predictions"] == 1


def test_own_columns_tokenizer_and_mode(tmp_path: Path) -> None:
    test = tmp_path / "mine.csv"
    test.write_text('id,mol,note\na,CCO,"an alcohol, small"\n')
    columns = Columns(key="id", smiles="mol", caption="note")
    predictions = predict(tmp_path, "id\tcaption_prediction\tsmiles_prediction\na\tan alcohol, small\t\n")
    score_file("mol2cap", test, predictions, tmp_path, columns=columns, tokenizer="words", resampling=FEW)
    assert json.loads((tmp_path / "scores.json").read_text())["tokenizer"]["name"] == "words"
    score_file("cap2mol", test, predictions, tmp_path, columns=columns, mode="paper", resampling=FEW)
    assert json.loads((tmp_path / "scores.json").read_text())["validity"]["value"] == 1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("CID\tsmiles_prediction\n1\tC\n", "no prediction for 1 of 2 rows; the first is CID 2"),
        ("CID\tsmiles_prediction\n1\tC\n2\tC\n1\tCC\n", "line 4: a second prediction for CID 1"),
        ("CID\tcaption_prediction\n1\tC\n2\tC\n", "no column 'smiles_prediction'"),
        ("key\tsmiles_prediction\n1\tC\n2\tC\n", "no column 'CID'"),
        ("CID\tsmiles_prediction\n1\tC\n\tC\n", "line 3: column 'CID' is empty"),
        ("CID\tsmiles_prediction\n1\tC\tC\n", "line 2: 2 columns expected, 3 found"),
    ],
)
def test_wrong_predictions_are_refused_in_one_line(tmp_path: Path, test_table: Path, text: str, message: str) -> None:
    predictions = predict(tmp_path, text)
    with pytest.raises(InputError) as caught:
        score_file("cap2mol", test_table, predictions, tmp_path / "out")
    assert message in str(caught.value)
    assert str(predictions) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_cannot_be_is_refused(tmp_path: Path, test_table: Path) -> None:
    predictions = predict(tmp_path, "CID\tsmiles_prediction\n1\tC\n2\tC\n")
    with pytest.raises(InputError, match="cannot be created"):
        score_file("cap2mol", test_table, predictions, test_table / "out")
