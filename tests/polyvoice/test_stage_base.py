"""`--base`: a training that begins with a finished stage."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from polyvoice.cli.main import run
from polyvoice.stages.stage_folder import FILE, VOCABULARY
from unitlm.checkpoint import load_model
from unitlm.metrics import read_metrics

OPTIONS = ["--device", "cpu", "--batch-rows", "4", "--micro-batch-rows", "4", "--sequence-length", "128"]
OPTIONS += ["--log-every", "1", "--dropout", "0", "--warmup-steps", "1", "--average-decay", "0"]


def train(stage: str, corpus: tuple[Path, Path], out: Path, *options: str) -> int:
    return run(["train", *stage.split(), *map(str, corpus), str(out), "--preset", "tiny", *OPTIONS, *options])


@pytest.fixture(scope="module")
def begun(toy_corpus: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("begun") / "run"
    assert train("translate", toy_corpus, out, "--steps", "30", "--pieces", "300") == 0
    return out


def test_it_goes_on_from_the_weights_with_the_vocabulary(
    begun: Path, toy_corpus: tuple[Path, Path], tmp_path: Path
) -> None:
    further = tmp_path / "further"
    assert (
        train("translate", toy_corpus, further, "--steps", "2", "--pieces", "290", "--base", str(begun / "model")) == 0
    )
    losses = [row["loss"] for row in read_metrics(begun / "train") if "loss" in row]
    first = next(row["loss"] for row in read_metrics(further / "train") if "loss" in row)
    assert first == pytest.approx(losses[-1], rel=0.2)
    assert first < 0.8 * losses[0]
    assert (further / "model" / VOCABULARY).read_text() == (begun / "model" / VOCABULARY).read_text()
    assert str(begun) not in (further / "model" / FILE).read_text()
    # Given again, a run that has ended stays as it is, though its base would move it.
    weights = load_model(further / "model").state_dict()
    assert (
        train("translate", toy_corpus, further, "--steps", "2", "--pieces", "290", "--base", str(begun / "model")) == 0
    )
    for name, value in load_model(further / "model").state_dict().items():
        torch.testing.assert_close(value, weights[name], rtol=0, atol=0)


def test_what_does_not_fit_is_refused_in_one_line(
    begun: Path, toy_corpus: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = str(begun / "model")

    def refuse(stage: str, base: str, *options: str, to: str = "refused") -> str:
        capsys.readouterr()
        assert train(stage, toy_corpus, tmp_path / to, "--steps", "2", "--base", base, *options) == 2
        [line] = capsys.readouterr().err.strip().splitlines()[-1:]
        return line

    assert "has another shape" in refuse("translate", base, "--preset", "mini", to="wide")
    assert "stage 'translate', expected 'duration'" in refuse("duration", base)
    assert "not a finished stage" in refuse("translate", str(tmp_path))
    assert "in this order, not" in refuse("translate", base, "--directions", "en-zh")
    card = json.loads((begun / "model" / FILE).read_text())
    card["units"]["kmeans"] = "another"
    other = tmp_path / "other"
    shutil.copytree(begun / "model", other)
    (other / FILE).write_text(json.dumps(card))
    assert "was trained on units of" in refuse("translate", str(other))
