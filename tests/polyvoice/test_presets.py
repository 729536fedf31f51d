"""Presets: the parameter counts that are printed are those of the models that are made."""

import pytest
import torch

from polyvoice.cli.main import run
from polyvoice.stages.presets import PRESETS, Preset, StageName, describe_presets
from unitlm.model import Decoder

CASES = [(preset, stage) for preset, sizes in PRESETS.items() for stage in sizes]


@pytest.mark.parametrize(("preset", "stage"), CASES)
@pytest.mark.parametrize("extras", [{}, {"stages": 7, "conditions": 3}], ids=["plain", "staged"])
def test_the_count_is_that_of_the_model(preset: Preset, stage: StageName, extras: dict[str, int]) -> None:
    size = PRESETS[preset][stage]
    with torch.device("meta"):
        model = Decoder(size.model_config(1_234, causal=not extras, **extras))
    assert size.count_parameters(1_234, **extras) == sum(parameter.numel() for parameter in model.parameters())


def test_sizes_are_what_the_presets_are_for() -> None:
    millions = {stage: size.count_parameters(4_000) / 1e6 for stage, size in PRESETS["small"].items()}
    assert 10 < millions["translate"] < 15
    assert 1.5 < millions["duration"] < 3
    assert 8 < millions["first_level"] < 12
    assert 1_500 < PRESETS["large"]["translate"].count_parameters(4_000) / 1e6 < 1_650
    for stages in (list(sizes) for sizes in PRESETS.values()):
        assert stages == ["translate", "duration", "first_level", "other_levels"]


def test_the_table_has_every_preset_and_stage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "presets"]) == 0
    table = capsys.readouterr().out
    assert table == describe_presets() + "\n"
    header, *rows = table.splitlines()
    assert header.split() == ["preset", "translate", "duration", "first_level", "other_levels"]
    assert [row.split()[0] for row in rows[:-1]] == ["tiny", "mini", "small", "base", "large"]
    assert "12.2 M" in rows[2]


def test_a_dropout_of_the_users_own_replaces_the_presets() -> None:
    size = PRESETS["small"]["translate"]
    assert size.model_config(100).dropout == size.dropout
    assert size.model_config(100, dropout=0.0).dropout == 0.0
