"""What a training step minimises."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from unitlm.data import Batch

ROWS = 64
"""Rows whose logits are in float32 at once: with some thousands of ids they stay in the processor's cache."""
DEVICE_ROWS = 8192
"""The same on a GPU, where every part costs launches of kernels."""


class Objective(Protocol):
    """Scores one micro-batch.

    The sums, not means, are returned: the loop divides by the weight of the whole global batch, so that neither
    accumulation nor the number of processes changes the result.
    """

    def __call__(self, model: nn.Module, batch: Batch, generator: torch.Generator, /) -> tuple[Tensor, Tensor]:
        """Compute the loss.

        Args:
            model: Call it as a `Decoder`; under DDP it is a wrapper around one.
            batch: Rows on the model's device.
            generator: On the CPU, seeded for this micro-batch; the only source of chance (torch's global generator,
                which dropout uses, is seeded alike).

        Returns:
            The weighted sum of losses and the sum of weights, both scalars.
        """
        ...


def causal_objective(model: nn.Module, batch: Batch, _generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Cross-entropy (nats) of each next id, weighted by the loss mask. For batches that are shifted.

    Where steps have several codebooks [B, S, K], the last is the one that is written (`unitlm.aligned`).
    """
    # Only what is learned is scored: in a prompt with examples that is a fifth of the positions, and it also leaves out
    # ids that the model reads but never writes, such as a learned prompt's.
    learned = batch.weights > 0
    logits = model(
        batch.ids,
        positions=batch.positions,
        segments=batch.segments,
        conditions=batch.conditions,
        prompt=batch.prompt,
        at=learned,
    )  # [N, V]
    targets = batch.targets if batch.targets.dim() == 2 else batch.targets[..., -1]
    losses = cross_entropy(logits, targets[learned])
    return (losses * batch.weights[learned]).sum(), batch.weights.sum()


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy (nats) of each row of `logits` [N, V] with `targets` [N], in float32 at least: [N].

    Like `torch.nn.functional.cross_entropy` without reduction, but it never holds more than a few rows in float32,
    and keeps nothing for backward but the logits as they came.
    """
    return _CrossEntropy.apply(logits, targets)  # type: ignore[no-any-return,no-untyped-call]


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        rows = _rows_at_once(logits)
        log_sum = torch.cat([_widened(part).logsumexp(dim=-1) for part in torch.split(logits, rows)])  # [N]
        ctx.save_for_backward(logits, targets, log_sum)
        return log_sum - logits.gather(1, targets.unsqueeze(1)).squeeze(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        logits, targets, log_sum = ctx.saved_tensors
        d_logits = torch.empty_like(logits)
        rows = _rows_at_once(logits)
        parts = zip(*(torch.split(part, rows) for part in (d_logits, logits, targets, log_sum, gradient)), strict=True)
        for d_part, part, target, part_log_sum, scale in parts:
            error = _widened(part).sub(part_log_sum.unsqueeze(1)).exp_()  # the probabilities [rows, V]
            error[torch.arange(len(target), device=target.device), target] -= 1.0
            d_part.copy_(error.mul_(scale.unsqueeze(1)))
        return d_logits, None


def _rows_at_once(logits: Tensor) -> int:
    return ROWS if logits.device.type == "cpu" else DEVICE_ROWS


def _widened(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
