"""Ablation plans: read with care, run by the ordinary commands, printed as one table."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from polyvoice.ablations.plan import Variant, read_plan
from polyvoice.ablations.run import Row, _digest_content, collect_values, format_table
from polyvoice.cli.main import run
from polyvoice.pipeline import translator as translator_module
from speechunits.audio import Waveform
from speechunits.segments import Segment

TINY = '["--preset", "tiny", "--steps", "2", "--batch-rows", "2", "--micro-batch-rows", "2", "--device", "cpu"]'
SKIP = '["--skip=asr_bleu", "--skip=speaker_similarity", "--skip=mos", "--skip=dnsmos"]'
PLAN = f"""
manifest = "{{manifest}}"
extracted = "{{extracted}}"
evaluate = {SKIP}

[common]
translate = {TINY}

[[variants]]
name = "decoder only"
train.translate = []

[[variants]]
name = "without text"
train.translate = ["--text", "none"]

[[variants]]
name = "decoder only, spoken"
train.translate = []
outputs = "speech"
test = "test.tsv"
"""
SYSTEMS = f"""
manifest = "{{manifest}}"
extracted = "{{extracted}}"
test = "test.tsv"
evaluate = {SKIP}

[parts]
encoder = "{{encoder}}"
layer = 2
kmeans = "{{kmeans}}"
codec = "{{codec}}"

[common]
translate = {TINY}
duration = {TINY}
first_level = {TINY}
other_levels = {TINY}

[[variants]]
name = "all"

[[variants]]
name = "chain with beams"
pipeline = ["--route", "chain", "--beams", "2"]

[[variants]]
name = "no duration LM"
pipeline = ["--durations", "mean"]

[[variants]]
name = "prefix LM"
train.translate = ["--prefix-lm"]

[[variants]]
name = "without text tasks"
train.translate = ["--text", "none"]

[[variants]]
name = "no source units in the voice prompt"
train.first_level = ["--no-prompt-units"]
train.other_levels = ["--no-prompt-units"]
"""


def write_test(folder: Path) -> None:
    """One recording to translate."""
    soundfile.write(folder / "zh.wav", 0.3 * np.sin(np.arange(16_000) / 8), 16_000)
    header, row = ("id", "source_audio", "source_lang", "target_lang"), ("one", "zh.wav", "zh", "en")
    (folder / "test.tsv").write_text("".join("\t".join(cells) + "\n" for cells in (header, row)))


def test_a_plan_becomes_a_table(
    toy_corpus: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, extracted = toy_corpus
    (tmp_path / "plan.toml").write_text(PLAN.format(manifest=manifest, extracted=extracted))
    write_test(tmp_path)
    (tmp_path / "speech").mkdir()
    shutil.copyfile(tmp_path / "zh.wav", tmp_path / "speech" / "one.wav")
    assert run(["ablate", str(tmp_path / "plan.toml"), str(tmp_path / "out"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["variant"]["name"] for row in rows] == ["decoder only", "without text", "decoder only, spoken"]
    whole, textless, spoken = (row["figures"] for row in rows)
    names = ("unit_error_rate", "unit_error_rate_chain", "said_error_rate", "held_out_loss")
    assert {f"translate.{name}" for name in names} <= whole.keys()
    assert "translate.unit_error_rate" in textless
    assert "translate.unit_error_rate_chain" not in textless
    assert textless["translate.parameters"] < whole["translate.parameters"]
    # The third is the first, trained once; what is judged is added.
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 2
    assert whole.items() < spoken.items()
    table = (tmp_path / "out" / "table.md").read_text().splitlines()
    assert len(table) == 5
    assert table[0].startswith("| variant | translate.parameters | translate.steps |")
    assert json.loads((tmp_path / "out" / "table.json").read_text())["rows"] == rows


@pytest.mark.slow
def test_systems_are_trained_packed_translated_with_and_judged_by_one_command(
    toy_parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def all_of_it(waveform: Waveform, **_: object) -> tuple[Segment, ...]:
        return (Segment(0.0, waveform.duration_s),)  # a voice detector does not take a tone for speech

    monkeypatch.setattr(translator_module, "cut_at_pauses", all_of_it)
    (tmp_path / "plan.toml").write_text(SYSTEMS.format(**vars(toy_parts)))
    write_test(tmp_path)
    command = ["ablate", str(tmp_path / "plan.toml"), str(tmp_path / "out"), "--json"]
    assert run(command) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    figures = {row["variant"]["name"]: row["figures"] for row in rows}
    assert len(figures) == 6
    for name, found in figures.items():
        assert {"rtf", "empty", "translate.unit_error_rate", "first_level.held_out_loss"} <= found.keys(), name
    # Three translation models, two pairs of synthesisers, one duration model; all that is equal is made once.
    trained = Counter(path.name.split("-")[0] for path in (tmp_path / "out" / "runs").iterdir())
    assert trained == {"translate": 3, "duration": 1, "first_level": 2, "other_levels": 2}
    assert len(list((tmp_path / "out" / "bundles").iterdir())) == 4
    systems = {
        json.loads((folder / "config.json").read_text())["translating"]["system"]
        for folder in (tmp_path / "out" / "evaluations").iterdir()
    }
    assert len(systems) == 6
    assert sum("route chain" in system and "beams 2" in system for system in systems) == 1
    assert sum("durations mean" in system for system in systems) == 1
    # Given again, it makes nothing anew.
    journals = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*/*/translations.jsonl")}
    assert run(command) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == rows
    assert {path: path.stat().st_mtime_ns for path in journals} == journals


def test_a_part_is_known_by_its_content(tmp_path: Path) -> None:
    run_folder, codec = tmp_path / "run", tmp_path / "codec"
    for folder in (run_folder / "model", run_folder / "train", codec):
        folder.mkdir(parents=True)
        (folder / "weights").write_text("1")
    before = [_digest_content(part) for part in (run_folder, codec, codec / "weights", tmp_path / "absent")]
    assert before[3] == ""
    assert len(set(before)) == 3 + (before[0] != before[1])
    (run_folder / "train" / "weights").write_text("2")  # a checkpoint: the finished stage is what it was
    (codec / "weights").write_text("2")
    after = [_digest_content(part) for part in (run_folder, codec, codec / "weights")]
    assert [now == then for now, then in zip(after, before, strict=False)] == [True, False, False]


def test_a_table_leaves_cells_empty_that_a_variant_does_not_have() -> None:
    rows = [
        Row(Variant("a|b"), {"steps": 20_000.0, "loss": 1.23456}),
        Row(Variant("c"), {"error": 0.5}),
    ]
    assert format_table(rows).splitlines() == [
        "| variant | steps | loss | error |",
        "| --- | --- | --- | --- |",
        "| a\\|b | 2e+04 | 1.235 |  |",
        "| c |  |  | 0.5 |",
    ]
    assert collect_values({"mos": {"value": 3.5, "n": 2}, "rows": 7, "ceiling": {"mos": {"value": 4}}}) == {"mos": 3.5}


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ("manifest =", "not TOML"),
        ("colour = 1", "unknown key 'colour'"),
        ('manifest = "a"', "needs variants"),
        ('[[variants]]\nname = "a"', "nothing to train, no parts"),
        ('[[variants]]\nname = "a"\ntrain.vocoder = []', "unknown key 'vocoder'"),
        ('[[variants]]\nname = "a"\noutputs = "x"', "there is no test"),
        ('test = "t"\n[[variants]]\nname = "a"\noutputs = "x"\nbundle = "y"', "give one of them"),
        ('test = "t"\n[[variants]]\nname = "a"\noutputs = "x"\npipeline = ["--beams", "2"]', "are spoken already"),
        ('[[variants]]\nname = "a"\ntrain.duration = []\npipeline = ["--beams", "2"]', "a pipeline needs parts"),
        ('[[variants]]\nname = "a"\ntrain.duration = []\nseed = 1', "unknown key 'seed'"),
        ('[[variants]]\nname = "a"\ntrain.duration = "--steps"', "must be a list"),
        ('[[variants]]\nname = "a"\ntrain.duration = []\n[common]\nduration = [1]', "must be str"),
        ('[[variants]]\nname = "a"\ntrain.duration = []\n[common]\nvocoder = []', "unknown key 'vocoder'"),
        ('[parts]\nkmeans = "k"\n[[variants]]\nname = "a"', "key 'encoder' is missing"),
        ("variants = 3", "[[variants]]"),
    ],
)
def test_plans_that_cannot_be(plan: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "plan.toml").write_text(plan)
    with pytest.raises(ValueError, match=r"plan\.toml|variant") as raised:
        read_plan(tmp_path / "plan.toml")
    assert words in str(raised.value)
    assert run(["ablate", str(tmp_path / "plan.toml"), str(tmp_path / "out")]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [("[]", "nothing extracted"), ('["--colour"]', "'polyvoice train' does not take these options")],
)
def test_a_command_that_fails_is_named(
    options: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = f'manifest = "absent.tsv"\n[[variants]]\nname = "a"\ntrain.duration = {options}'
    (tmp_path / "plan.toml").write_text(plan)
    assert run(["ablate", str(tmp_path / "plan.toml"), str(tmp_path / "out")]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.splitlines()[-1].startswith("polyvoice: variant 'a': ")
    assert words in errors.splitlines()[-1]
