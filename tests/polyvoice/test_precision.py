"""Precision left to the machine: codec and language models choose alike, and a dry run counts what GPUs take."""

from __future__ import annotations

import pytest
import torch

from polyvoice.corpus.speak.kokoro_generator import check_convolutions
from polyvoice.errors import InputError
from polyvoice.stages.course import Course
from polyvoice.stages.dry_run import estimate_stage
from polyvoice.stages.translate.settings import TranslateSettings
from speechunits.precision import has_bf16
from unitlm import precision
from unitlm.dry_run import DryRun
from unitlm.precision import choose_precision


def test_the_codec_chooses_as_the_language_models_do() -> None:
    assert has_bf16(torch.device("cpu")) == (choose_precision("auto", "cpu") == "bf16")
    assert has_bf16(torch.device("cuda"))


@pytest.mark.parametrize(("native", "computed"), [(True, "bf16"), (False, "fp32")])
def test_a_stage_computes_in_what_the_machine_is_fast_in(
    native: bool, computed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_has_bf16", lambda: native)
    assert Course(device="cpu").train_config(1e-3).precision == computed
    assert Course(device="cpu", precision="fp32").train_config(1e-3).precision == "fp32"


def test_a_dry_run_counts_bf16_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_has_bf16", lambda: False)

    def counted(course: Course) -> object:
        train = estimate_stage(TranslateSettings(preset="tiny", course=course), DryRun()).as_json()["train"]
        assert isinstance(train, dict)
        return train["precision"]

    assert counted(Course(device="cpu")) == "bf16"
    assert counted(Course(device="cpu", precision="fp32")) == "fp32"


def test_convolutions_whose_sums_would_overflow_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    with pytest.raises(InputError, match="use --engine onnx"):
        check_convolutions()
