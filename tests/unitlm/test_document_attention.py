"""Attention by document = attention under a mask: values, gradients, and precision in bf16."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from unitlm.document_attention import QUERY_BLOCK, attend_within, document_lengths

LONG = torch.tensor([0] * 3 + [1] * (QUERY_BLOCK + 70) + [2] * 14 + [-1])  # the second takes two blocks of queries
SEGMENTS = torch.stack((LONG, LONG.flip(0)))


def draw(segments: Tensor, heads: int, groups: int, dtype: torch.dtype, width: int = 8) -> list[Tensor]:
    """Query, key, value, and a gradient of the result."""
    generator = torch.Generator().manual_seed(0)
    rows, steps = segments.shape
    parts = [torch.randn(rows, n, steps, width, generator=generator).to(dtype) for n in (heads, groups, groups, heads)]
    return [*(part.requires_grad_() for part in parts[:3]), parts[3]]


def attend_under_mask(segments: Tensor, query: Tensor, key: Tensor, value: Tensor, *, causal: bool) -> Tensor:
    allowed = (segments.unsqueeze(2) == segments.unsqueeze(1)).unsqueeze(1)
    if causal:
        allowed = allowed.tril()
    return F.scaled_dot_product_attention(query, key, value, attn_mask=allowed, enable_gqa=True)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-12)])
def test_attention_by_document_is_attention_under_a_mask(
    causal: bool, groups: int, dtype: torch.dtype, tolerance: float
) -> None:
    *parts, gradient = draw(SEGMENTS, 4, groups, dtype)
    lengths = document_lengths(SEGMENTS)
    assert lengths == (3, QUERY_BLOCK + 70, 14, 1, 1, 14, QUERY_BLOCK + 70, 3)
    expected = attend_under_mask(SEGMENTS, *parts, causal=causal)
    found = attend_within(lengths, *parts, is_causal=causal)
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)
    wanted = torch.autograd.grad(expected, parts, gradient)
    torch.testing.assert_close(torch.autograd.grad(found, parts, gradient), wanted, atol=4 * tolerance, rtol=0)


def test_gradients_are_those_of_finite_differences() -> None:
    segments = torch.tensor([[0, 0, 0, 1, 1], [0, 1, 1, 1, 1]])
    *parts, _ = draw(segments, 2, 1, torch.float64, width=2)
    for causal in (True, False):
        assert torch.autograd.gradcheck(
            lambda *x, causal=causal: attend_within((3, 2, 1, 4), *x, is_causal=causal), parts
        )


@pytest.mark.parametrize(
    "scale", [1.0, 6.0]
)  # six: scores of tens, where a log-sum rounded to bf16 would be off by 3 %
def test_gradients_in_bf16_lose_no_more_than_rounding(scale: float) -> None:
    *parts, gradient = draw(SEGMENTS, 4, 4, torch.bfloat16, width=64)
    with torch.no_grad():
        parts[0] *= scale
    exact = [part.detach().double().requires_grad_() for part in parts]
    wanted = torch.autograd.grad(attend_under_mask(SEGMENTS, *exact, causal=True), exact, gradient.double())
    lengths = document_lengths(SEGMENTS)
    assert lengths is not None
    found = torch.autograd.grad(attend_within(lengths, *parts, is_causal=True), parts, gradient)
    for part, expected in zip(found, wanted, strict=True):
        assert (part.double() - expected).norm() < 0.01 * expected.norm()  # a bf16 number is off by 0.2 % on average


def test_queries_that_score_what_they_may_not_see_highest_stay_finite() -> None:
    query = torch.zeros(1, 1, 4, 2, requires_grad=True)
    key = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [1e4, 0.0]]).view(1, 1, 4, 2).requires_grad_()
    with torch.no_grad():
        query[..., 0] = 1e3  # the last key's score overflows the exponential of all but the last query
    attended = attend_within((4,), query, key, torch.ones(1, 1, 4, 2), is_causal=True)
    for gradient in torch.autograd.grad(attended.sum(), (query, key)):
        assert gradient.isfinite().all()
