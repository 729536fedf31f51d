"""Attention of packed documents, one document at a time: else it takes a quarter of a training step on a CPU.

A mask over whole rows computes every pair of positions only to throw most of them away, so documents are cut out
first. Torch's own kernel runs forward; its backward pass, in small blocks, reaches a third of what the processor's
matrix products do, and is replaced by a few large products (Dao, FlashAttention-2, arXiv 2307.08691, section 3.1).

Letters in shapes: B batch, S sequence step, T = B * S, H query head, G key/value head, C width of one head, L document
step, Q = step of a block of queries.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

QUERY_BLOCK = 256
"""Queries whose scores are held at once: short enough to skip what a causal model may not see and to stay in the
processor's cache, long enough for fast products (64 to 512 were tried with documents of 5 to 500 steps)."""


def document_lengths(segments: Tensor) -> tuple[int, ...] | None:
    """Steps of the documents of all rows of `segments` [B, S], in order; None when one is not in one piece."""
    lengths: list[int] = []
    for row in segments:
        numbers, counts = torch.unique_consecutive(row, return_counts=True)
        if len(numbers) != len(set(numbers.tolist())):
            return None
        lengths.extend(counts.tolist())
    return tuple(lengths)


def attend_within(lengths: Sequence[int], query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool) -> Tensor:
    """Attention of each document to itself, on a CPU.

    Args:
        lengths: Steps of the documents, B * S in all; none goes on in the next row.
        query: [B, H, S, C].
        key: [B, G, S, C].
        value: [B, G, S, C].
        is_causal: Whether a position sees only itself and what came before.

    Returns:
        [B, H, S, C].
    """
    batch, heads, steps, width = query.shape
    query, key, value = (
        part.transpose(1, 2).flatten(0, 1).transpose(0, 1) for part in (query, key, value)
    )  # [., T, C]
    if len(key) != heads:
        key, value = (part.repeat_interleave(heads // len(part), dim=0) for part in (key, value))  # [H, T, C]
    attended: Tensor = _DocumentAttention.apply(query, key, value, tuple(lengths), is_causal)  # type: ignore[no-untyped-call]
    return attended.transpose(0, 1).view(batch, steps, heads, width).transpose(1, 2)


class _DocumentAttention(torch.autograd.Function):
    """Softmax attention of [H, T, C] within documents; the matrices of scores are computed anew in backward."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, lengths: tuple[int, ...], is_causal: bool
    ) -> Tensor:
        heads, total, width = query.shape
        attended = query.new_empty(total, heads, width).transpose(0, 1)  # [H, T, C]
        log_sum: list[Tensor] = []
        for start, stop in _spans(lengths):
            document = (part[None, :, start:stop] for part in (query, key, value))  # [1, H, L, C] each
            one, one_log_sum = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
                *document, is_causal=is_causal
            )
            attended[:, start:stop] = one[0]
            log_sum.append(one_log_sum[0])  # [H, L]
        ctx.save_for_backward(query, key, value, attended, torch.cat(log_sum, dim=1))
        ctx.lengths, ctx.is_causal = lengths, is_causal
        return attended

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        query, key, value, attended, log_sum = ctx.saved_tensors
        scale = 1.0 / math.sqrt(query.shape[-1])
        # With P the weights and O what they made: P = exp(scale Q K' - log_sum), and the gradient of the scores is
        # P * (dO V' - sum(dO * O)). Both subtractions ride along in the products, as two more columns.
        from_query = _extend(query * scale, -log_sum)
        from_gradient = _extend(gradient, -(gradient * attended).sum(dim=-1, dtype=log_sum.dtype))
        ones = key.new_ones(1, 1, 2).expand(*key.shape[:2], 2)
        to_key, to_value = torch.cat((key, ones), dim=-1), torch.cat((value, ones), dim=-1)  # [H, T, C + 2]
        d_query, d_key, d_value = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
        for start, stop in _spans(ctx.lengths):
            for first in range(start, stop, QUERY_BLOCK):
                last = min(first + QUERY_BLOCK, stop)
                seen = last if ctx.is_causal else stop
                weights = torch.bmm(from_query[:, first:last], to_key[:, start:seen].mT).exp_()  # [H, Q, L]
                if ctx.is_causal:
                    weights[:, :, first - start :].tril_()
                d_scores = torch.bmm(from_gradient[:, first:last], to_value[:, start:seen].mT).mul_(weights)
                torch.bmm(d_scores, key[:, start:seen], out=d_query[:, first:last])
                d_key[:, start:seen] += torch.bmm(d_scores.mT, query[:, first:last])
                d_value[:, start:seen] += torch.bmm(weights.mT, gradient[:, first:last])
        return d_query.mul_(scale), d_key.mul_(scale), d_value, None, None


def _spans(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """(start, stop) of each document."""
    stops = torch.tensor(lengths).cumsum(dim=0).tolist()
    return list(zip([0, *stops], stops, strict=False))


def _extend(x: Tensor, extra: Tensor) -> Tensor:
    """Put `extra` [H, T] behind `x` [H, T, C] in two columns: in bf16 its rounding error needs the second."""
    rounded = extra.to(x.dtype)
    rest = (extra - rounded).to(x.dtype)
    return torch.cat((x, rounded.unsqueeze(-1), rest.unsqueeze(-1)), dim=-1)
