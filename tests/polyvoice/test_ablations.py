"""Ablation plans: read with care, run by the ordinary commands, printed as one table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from polyvoice.ablations import Row, Variant, collect_values, format_table, read_plan
from polyvoice.cli.main import run

PLAN = """
manifest = "{manifest}"
extracted = "{extracted}"
evaluate = ["--skip=asr_bleu", "--skip=speaker_similarity", "--skip=mos", "--skip=dnsmos"]

[common]
translate = ["--preset", "tiny", "--steps", "2", "--batch-rows", "2", "--micro-batch-rows", "2", "--device", "cpu"]

[[variants]]
name = "decoder only"
stage = "translate"

[[variants]]
name = "without text"
stage = "translate"
options = ["--text", "none"]

[[variants]]
name = "decoder only, spoken"
stage = "translate"
outputs = "speech"
test = "test.tsv"
"""


def test_a_plan_becomes_a_table(
    toy_corpus: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, extracted = toy_corpus
    (tmp_path / "plan.toml").write_text(PLAN.format(manifest=manifest, extracted=extracted))
    (tmp_path / "speech").mkdir()
    tone = 0.3 * np.sin(np.arange(16_000) / 8)
    soundfile.write(tmp_path / "zh.wav", tone, 16_000)
    soundfile.write(tmp_path / "speech" / "one.wav", tone, 16_000)
    header, row = ("id", "source_audio", "source_lang", "target_lang"), ("one", "zh.wav", "zh", "en")
    (tmp_path / "test.tsv").write_text("".join("\t".join(cells) + "\n" for cells in (header, row)))
    assert run(["ablate", str(tmp_path / "plan.toml"), str(tmp_path / "out"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["variant"]["name"] for row in rows] == ["decoder only", "without text", "decoder only, spoken"]
    whole, textless, spoken = (row["figures"] for row in rows)
    assert {"unit_error_rate", "unit_error_rate_chain", "said_error_rate", "held_out_loss"} <= whole.keys()
    assert "unit_error_rate" in textless
    assert "unit_error_rate_chain" not in textless
    assert textless["parameters"] < whole["parameters"]
    # The third is the first, trained once; what is judged is added.
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 2
    assert whole.items() < spoken.items()
    table = (tmp_path / "out" / "table.md").read_text().splitlines()
    assert len(table) == 5
    assert table[0].startswith("| variant | parameters | steps |")
    assert json.loads((tmp_path / "out" / "table.json").read_text())["rows"] == rows


def test_a_table_leaves_cells_empty_that_a_variant_does_not_have() -> None:
    rows = [
        Row(Variant("a|b", "translate"), {"steps": 20_000.0, "loss": 1.23456}),
        Row(Variant("c", "duration"), {"error": 0.5}),
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
        ('[[variants]]\nname = "a"', "neither a stage to train nor outputs"),
        ('[[variants]]\nname = "a"\nstage = "vocoder"', "stage 'vocoder' is none of translate"),
        ('[[variants]]\nname = "a"\noutputs = "x"', "outputs and test go together"),
        ('[[variants]]\nname = "a"\nstage = "duration"\nseed = 1', "unknown key 'seed'"),
        ('[[variants]]\nname = "a"\nstage = "duration"\noptions = "--steps"', "must be a list"),
        ('[[variants]]\nname = "a"\nstage = "duration"\n[common]\nduration = [1]', "must be a list of strings"),
        ('[[variants]]\nname = "a"\nstage = "duration"\n[common]\nvocoder = []', "common.vocoder"),
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
    plan = f'manifest = "absent.tsv"\n[[variants]]\nname = "a"\nstage = "duration"\noptions = {options}'
    (tmp_path / "plan.toml").write_text(plan)
    assert run(["ablate", str(tmp_path / "plan.toml"), str(tmp_path / "out")]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.splitlines()[-1].startswith("polyvoice: variant 'a': ")
    assert words in errors.splitlines()[-1]
