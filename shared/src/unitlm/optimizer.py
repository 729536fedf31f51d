"""AdamW for a decoder, and its state as named tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from unitlm.distributed import shard_like
from unitlm.errors import InputError

KEYS = ("exp_avg", "exp_avg_sq", "step")


def build_optimizer(
    parameters: Mapping[str, nn.Parameter], *, weight_decay: float, betas: tuple[float, float], device: torch.device
) -> torch.optim.AdamW:
    """AdamW (arXiv 1711.05101) that decays matrices only: norms and other vectors have nothing to shrink to."""
    matrices = [parameter for parameter in parameters.values() if parameter.dim() >= 2]
    vectors = [parameter for parameter in parameters.values() if parameter.dim() < 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW([group for group in groups if group["params"]], betas=betas, fused=device.type == "cuda")


def optimizer_tensors(optimizer: torch.optim.AdamW, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """The optimizer's memory: `exp_avg/NAME`, `exp_avg_sq/NAME` and `step/NAME`, sharded as the parameters are."""
    return {
        f"{key}/{name}": value
        for name, parameter in parameters.items()
        for key, value in sorted(optimizer.state.get(parameter, {}).items())
    }


def load_optimizer_tensors(
    optimizer: torch.optim.AdamW, parameters: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor], where: str
) -> None:
    """Give `optimizer` the memory that `optimizer_tensors` listed, whole; it is sharded here.

    Raises:
        InputError: A part of a parameter's memory is missing.
    """
    state: dict[nn.Parameter, dict[str, Tensor]] = {}
    for name, parameter in parameters.items():
        if not any(f"{key}/{name}" in tensors for key in KEYS):
            continue  # it has never had a gradient, such as a table of conditions that the data does not use
        state[parameter] = {}
        for key in KEYS:
            whole = tensors.get(f"{key}/{name}")
            if whole is None:
                raise InputError(f"{where}: the optimizer's state lacks {key}/{name}")
            state[parameter][key] = whole if key == "step" else shard_like(whole, parameter)
    # Through the public door, which also puts each tensor where this optimizer wants it.
    order = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    optimizer.load_state_dict(
        {
            "state": {number: state[parameter] for number, parameter in enumerate(order) if parameter in state},
            "param_groups": optimizer.state_dict()["param_groups"],
        }
    )
