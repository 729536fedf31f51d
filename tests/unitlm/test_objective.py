"""The loss: torch's cross-entropy, without its memory."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from unitlm.objective import ROWS, cross_entropy


@pytest.mark.parametrize("rows", [0, 1, ROWS, 2 * ROWS + 5])
def test_cross_entropy_is_torchs(rows: int) -> None:
    generator = torch.Generator().manual_seed(rows)
    logits = (10 * torch.randn(rows, 30, generator=generator, dtype=torch.float64)).requires_grad_()
    targets = torch.randint(30, (rows,), generator=generator)
    scale = torch.rand(rows, generator=generator, dtype=torch.float64)
    expected = F.cross_entropy(logits, targets, reduction="none")
    found = cross_entropy(logits, targets)
    torch.testing.assert_close(found, expected)
    wanted = torch.autograd.grad((expected * scale).sum(), logits)
    torch.testing.assert_close(torch.autograd.grad((found * scale).sum(), logits), wanted)


def test_cross_entropy_of_bf16_logits_is_computed_in_float32() -> None:
    logits = (10 * torch.randn(70, 500, generator=torch.Generator().manual_seed(0))).bfloat16().requires_grad_()
    targets = torch.arange(70)
    expected = F.cross_entropy(logits.float(), targets, reduction="none")
    found = cross_entropy(logits, targets)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-5)
    wanted = torch.autograd.grad(expected.sum(), logits)
    torch.testing.assert_close(torch.autograd.grad(found.sum(), logits), wanted, rtol=0.01, atol=1e-6)
