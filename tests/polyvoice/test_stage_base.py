"""`--base`: a training that begins with a finished stage."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from polyvoice.bundle.shipped import shipped_bundle
from polyvoice.cli.main import run
from polyvoice.errors import InputError
from polyvoice.stages.base import Base
from polyvoice.stages.presets import StageName
from polyvoice.stages.stage_folder import FILE, VOCABULARY
from polyvoice.tasks import Direction
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
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in (further / "model").iterdir()}
    diary = read_metrics(further / "train")
    assert (
        train("translate", toy_corpus, further, "--steps", "2", "--pieces", "290", "--base", str(begun / "model")) == 0
    )
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in (further / "model").iterdir()} == before
    assert read_metrics(further / "train") == diary


def test_languages_are_words_to_the_translation_model_and_numbers_to_the_others() -> None:
    def open_shipped(stage: StageName) -> Base:
        found = Base.open(str(shipped_bundle() / stage), stage)
        assert found is not None
        return found

    some = [Direction("en", "zh")]
    open_shipped("translate").check_languages(some)
    with pytest.raises(InputError, match="knows es, en, zh, not fr"):
        open_shipped("translate").check_languages([Direction("en", "fr")])
    with pytest.raises(InputError, match="in this order, not en, zh"):
        open_shipped("duration").check_languages(some)


def test_a_new_vocabulary_begins_with_what_the_model_knows(
    begun: Path, toy_corpus: tuple[Path, Path], tmp_path: Path
) -> None:
    """Of other pieces, and with the directions in another order; a run from scratch has all to learn."""
    options = ("--steps", "2", "--pieces", "290", "--directions", "en-zh", "--directions", "zh-en")
    base = ("--base", str(begun / "model"), "--new-vocabulary")
    for out, more in (("scratch", ()), ("further", base), ("further", base)):
        assert train("translate", toy_corpus, tmp_path / out, *options, *more) == 0
    first = {
        out: next(row["loss"] for row in read_metrics(tmp_path / out / "train") if "loss" in row)
        for out in ("scratch", "further")
    }
    assert first["further"] < 0.9 * first["scratch"]
    written = [(folder / "model" / VOCABULARY).read_text() for folder in (begun, tmp_path / "further")]
    assert written[0] != written[1]
    assert written[1] == (tmp_path / "scratch" / "model" / VOCABULARY).read_text()


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
    assert "new_vocabulary is for a model that begins with another" in refuse("translate", "", "--new-vocabulary")
    assert "knows text, which text none would leave out" in refuse("translate", base, "--text", "none")
    card = json.loads((begun / "model" / FILE).read_text())
    card["units"]["kmeans"] = "another"
    other = tmp_path / "other"
    shutil.copytree(begun / "model", other)
    (other / FILE).write_text(json.dumps(card))
    assert "was trained on units of" in refuse("translate", str(other))
