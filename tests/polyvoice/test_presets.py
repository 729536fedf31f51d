"""Presets: what they are for, and the table of them; that counts are those of models is tested with `unitlm.cost`."""

import pytest

from polyvoice.cli.main import run
from polyvoice.stages.dry_run import StageSettings, describe_presets, estimate_stage
from polyvoice.stages.duration.settings import DurationSettings
from polyvoice.stages.presets import PRESETS
from polyvoice.stages.synthesize.settings import FirstLevelSettings
from polyvoice.stages.translate.settings import TranslateSettings
from unitlm.dry_run import DryRun


def count(settings: StageSettings) -> float:
    return estimate_stage(settings, DryRun()).parameters.total / 1e6


def test_sizes_are_what_the_presets_are_for() -> None:
    assert 10 < count(TranslateSettings(preset="small")) < 15
    assert 1.5 < count(DurationSettings(preset="small")) < 3
    assert 8 < count(FirstLevelSettings(preset="small")) < 12
    assert 1_500 < count(TranslateSettings(preset="large")) < 1_650
    for stages in (list(sizes) for sizes in PRESETS.values()):
        assert stages == ["translate", "duration", "first_level", "other_levels"]


def test_the_table_has_every_preset_and_stage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "presets"]) == 0
    table = capsys.readouterr().out
    assert table == describe_presets() + "\n"
    header, *rows = table.splitlines()
    assert header.split() == ["preset", "translate", "duration", "first_level", "other_levels"]
    assert [row.split()[0] for row in rows[:-1]] == ["tiny", "mini", "small", "base", "large"]
    assert "11.8 M" in rows[2]


def test_a_dropout_of_the_users_own_replaces_the_presets() -> None:
    size = PRESETS["small"]["translate"]
    assert size.model_config(100).dropout == size.dropout
    assert size.model_config(100, dropout=0.0).dropout == 0.0
