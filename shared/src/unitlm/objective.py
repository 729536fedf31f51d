"""What a training step minimises."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unitlm.data import Batch


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
    losses = F.cross_entropy(logits.float(), targets[learned], reduction="none")
    return (losses * batch.weights[learned]).sum(), batch.weights.sum()
