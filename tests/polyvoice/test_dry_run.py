"""A dry run counts the model that training would make, and needs neither data nor a place to write to."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from polyvoice.cli.main import run
from polyvoice.stages.course import Course
from polyvoice.stages.dry_run import StageSettings, estimate_stage
from polyvoice.stages.duration.settings import DurationLayout, DurationSettings
from polyvoice.stages.duration.training import train_duration
from polyvoice.stages.stage_folder import read_stage
from polyvoice.stages.synthesize.settings import FirstLevelSettings, OtherLevelsSettings
from polyvoice.stages.synthesize.training import train_first_level, train_other_levels
from polyvoice.stages.translate.settings import CorpusSettings, TranslateSettings
from polyvoice.stages.translate.training import train_translate
from unitlm.dry_run import DryRun

COURSE = Course(steps=1, batch_rows=2, micro_batch_rows=1, sequence_length=256, device="cpu", precision="fp32")
STAGES = [
    (train_translate, TranslateSettings("tiny", corpus=CorpusSettings(text="bytes"), course=COURSE)),
    (train_duration, DurationSettings("tiny", course=COURSE)),
    (train_duration, DurationSettings("tiny", layout=DurationLayout(layout="line"), course=COURSE)),
    (train_first_level, FirstLevelSettings("tiny", course=COURSE)),
    (train_other_levels, OtherLevelsSettings("tiny", course=COURSE)),
]


def count(arguments: str, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    assert run(["train", *arguments.split(), "--dry-run", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(("train", "settings"), STAGES)
def test_the_model_that_is_counted_is_the_model_that_is_trained(
    train, settings: StageSettings, toy_corpus: tuple[Path, Path], tmp_path: Path
) -> None:
    card = read_stage(train(*toy_corpus, tmp_path / "run", settings))
    settings = replace(settings, directions=tuple(str(way) for way in card.directions))
    estimate = estimate_stage(settings, DryRun(), toy_corpus[1])
    assert estimate.parameters.total == card.parameters
    made = json.loads((tmp_path / "run" / "train" / "run.json").read_text())
    assert {**estimate.as_json()["model"], "frozen": ""} == made["model"]
    assert estimate.as_json()["train"] == made["train"]


def test_the_largest_translation_model_is_counted_without_data(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    figures = count("translate --preset large --devices 8 --batch-rows 64 --gpu h100", capsys)
    assert figures["parameters"]["total"] == pytest.approx(1.6e9, rel=0.01)
    assert figures["tokens"] == 20_000 * 64 * 768
    assert figures["flops"] == figures["tokens"] * figures["flops_per_token"]
    assert figures["seconds"] == pytest.approx(figures["flops"] / (8 * 989e12 * 0.4))
    ddp, fsdp = figures["memory"]["ddp"], figures["memory"]["fsdp"]
    assert ddp["optimizer"] == 8 * fsdp["optimizer"] == 8 * figures["parameters"]["total"]
    assert fsdp["total"] < ddp["total"]
    assert not list(tmp_path.iterdir())


def test_the_speed_of_a_device_can_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    slow, fast = (
        count(f"duration --preset base --device-tflops {tflops} --utilisation 0.5", capsys) for tflops in (100, 400)
    )
    assert slow["seconds"] == pytest.approx(4 * fast["seconds"])
    assert slow["machines"]["peak_tflops"] == 100


def test_the_table_says_whether_it_fits(capsys: pytest.CaptureFixture[str]) -> None:
    words = "train translate --preset large --dry-run --devices 16 --batch-rows 128 --gpu rtx4090 --micro-batch-rows 1"
    assert run(words.split()) == 0
    lines = [line.strip("│ ").split() for line in capsys.readouterr().out.splitlines()]
    [verdict] = [line for line in lines if line[:2] == ["fits", "in"]]
    assert [word for word in verdict if word in ("yes", "no")] == ["no", "yes"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("translate", "training needs MANIFEST, EXTRACTED and OUT"),
        ("duration --dry-run --devices 3", "multiple of micro_batch_rows (8) times 3 devices"),
        ("duration --dry-run --utilisation 1.5", "utilisation must be above 0 and at most 1, got 1.5"),
        ("duration . nowhere --dry-run", "nowhere: there is nothing extracted in it"),
    ],
)
def test_a_mistake_is_told_in_one_line(arguments: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", *arguments.split()]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert complaint in line
