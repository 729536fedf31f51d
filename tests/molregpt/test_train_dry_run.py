"""A dry run of the local model's training counts what training makes, and needs no tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from molregpt.cli import run
from molregpt.local.settings import TrainSettings
from molregpt.local.shipped import shipped_model
from molregpt.local.training import RECITAL_STEPS, model_config
from unitlm.model import Decoder


def test_the_model_is_counted_without_tables(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["train", "--dry-run", "--json", "--steps", "2000", "--devices", "2", "--gpu", "l4"]) == 0
    figures = json.loads(capsys.readouterr().out)
    with torch.device("meta"):
        made = Decoder(model_config(TrainSettings(), figures["model"]["vocabulary_size"]))
    assert figures["parameters"]["total"] == sum(value.numel() for value in made.parameters())
    assert figures["model"]["vocabulary_size"] > 4_096 + 512
    assert figures["tokens"] == (2_000 + RECITAL_STEPS) * 16 * 512
    # Muon keeps one number for each entry of the blocks' matrices, AdamW two for all else.
    parameters = figures["parameters"]
    assert figures["memory"]["ddp"]["optimizer"] == 4 * (2 * parameters["total"] - parameters["layers"])
    assert not list(tmp_path.iterdir())


def test_recitals_and_a_base_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    def count(*options: str) -> dict[str, Any]:
        assert run(["train", "--dry-run", "--json", "--steps", "2000", *options]) == 0
        figures: dict[str, Any] = json.loads(capsys.readouterr().out)
        return figures

    assert count("--recital-steps", "50")["tokens"] == 2_050 * 16 * 512
    shipped = count("--base", str(shipped_model()))
    assert shipped["tokens"] == 2_000 * 16 * 512
    assert shipped["model"]["width"] == 256


def test_training_itself_needs_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "--steps", "10"]) == 2
    assert capsys.readouterr().err.startswith("molregpt: training needs --pairs, --held-out and --out")
