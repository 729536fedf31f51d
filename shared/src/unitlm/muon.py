"""Muon with matrices of one shape orthogonalized together.

`torch.optim.Muon` takes one matrix after the other: on a GPU the forty matrices of a small model cost more launches of
kernels than its forward pass. The arithmetic is the same, and so is the state. On a processor that only emulates bf16
it is done in float32, which is six times as fast there.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from unitlm.precision import choose_precision

_RMS = 0.2  # of AdamW's updates (arXiv 2502.16982, section 2.2)


class StackedMuon(torch.optim.Muon):
    """`torch.optim.Muon` with `adjust_lr_fn="match_rms_adamw"`, and Nesterov's momentum, in a few large products."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Take one step with the gradients that are there; a closure is not supported."""
        if closure is not None:
            raise NotImplementedError("StackedMuon takes no closure")
        for group in self.param_groups:
            alike: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike[parameter.shape].append(parameter)
            for parameters in alike.values():
                self._step_alike(parameters, group)

    def _step_alike(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        for parameter in parameters:
            if "momentum_buffer" not in self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        momenta = [self.state[parameter]["momentum_buffer"] for parameter in parameters]
        torch._foreach_lerp_(momenta, gradients, 1.0 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, momenta, group["momentum"])
        even = orthogonalize(torch.stack(ahead), group["ns_coefficients"], group["ns_steps"], group["eps"])
        rate = group["lr"] * _RMS * math.sqrt(max(parameters[0].shape))
        torch._foreach_mul_(parameters, 1.0 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(parameters, list(even.to(parameters[0].dtype).unbind()), alpha=-rate)


def orthogonalize(matrices: Tensor, coefficients: tuple[float, float, float], steps: int, epsilon: float) -> Tensor:
    """Make all singular values of `matrices` [N, R, C] about 1 by Newton and Schulz's iteration.

    In bf16, which is exact enough, or in float32 where bf16 would only be emulated.

    Args:
        matrices: N matrices of one shape.
        coefficients: Of the iteration's polynomial, of degrees 1, 3 and 5.
        steps: Of the iteration.
        epsilon: The least norm that a matrix is divided by.
    """
    a, b, c = coefficients
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.bfloat16() if choose_precision("auto", matrices.device.type) == "bf16" else matrices.float()
    x = x.mT if tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=epsilon)
    for _ in range(steps):
        gram = x @ x.mT  # [N, R, R]
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
