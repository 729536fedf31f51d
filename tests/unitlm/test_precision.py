"""What `auto` stands for."""

from __future__ import annotations

import pytest
import torch

from unitlm import precision
from unitlm.precision import choose_precision


@pytest.mark.parametrize("native", [True, False])
def test_auto_takes_bf16_where_there_are_instructions_for_it(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_has_bf16", lambda: native)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for device in ("auto", "cpu"):
        assert choose_precision("auto", device) == ("bf16" if native else "fp32")
    assert choose_precision("auto", "cuda:1") == "bf16"
    assert choose_precision("fp32", "cuda") == "fp32"
    assert choose_precision("bf16", "cpu") == "bf16"


def test_the_processor_is_asked_and_answers() -> None:
    assert precision._has_bf16() in (True, False)
