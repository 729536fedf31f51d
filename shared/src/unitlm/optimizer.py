"""The optimizers of a decoder, and their memory as named tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from unitlm.distributed import shard_like
from unitlm.errors import InputError
from unitlm.muon import StackedMuon

OptimizerName = Literal["adamw", "muon"]
STEP = "step"


class Optimizers:
    """AdamW (arXiv 1711.05101) for all parameters, or Muon for the blocks' matrices and AdamW for the rest.

    Muon (Jordan et al. 2024; scaled to AdamW's step size as in arXiv 2502.16982, so that one learning rate serves
    both) makes every direction of a matrix's update equally long. Only matrices decay: norms and other vectors have
    nothing to shrink to.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        name: OptimizerName,
        *,
        weight_decay: float,
        betas: tuple[float, float],
        device: torch.device,
    ) -> None:
        """Divide the parameters among optimizers.

        Args:
            parameters: What is trained, by name.
            name: `adamw` or `muon`.
            weight_decay: Decay of the matrices.
            betas: AdamW's memories of gradients and of their squares.
            device: Where the parameters are.
        """
        self._parameters = parameters
        orthogonal = [value for key, value in parameters.items() if name == "muon" and _is_block_matrix(key, value)]
        taken = {id(value) for value in orthogonal}
        others = [value for value in parameters.values() if id(value) not in taken]
        groups = [
            {"params": [value for value in others if value.dim() >= 2], "weight_decay": weight_decay},
            {"params": [value for value in others if value.dim() < 2], "weight_decay": 0.0},
        ]
        groups = [group for group in groups if group["params"]]
        self._optimizers: list[torch.optim.Optimizer] = []
        if groups:
            self._optimizers.append(torch.optim.AdamW(groups, betas=betas, fused=device.type in ("cpu", "cuda")))
        if orthogonal:
            # Sharded matrices are left to torch's own, which knows how to gather them.
            sharded = any(isinstance(value, DTensor) for value in orthogonal)
            muon = torch.optim.Muon if sharded else StackedMuon
            self._optimizers.append(
                muon(orthogonal, weight_decay=weight_decay, momentum=0.95, adjust_lr_fn="match_rms_adamw")
            )

    @property
    def groups(self) -> list[dict[str, object]]:
        """The parameter groups of all optimizers."""
        return [group for optimizer in self._optimizers for group in optimizer.param_groups]

    def step(self, rate: float) -> None:
        """Take one step with the gradients that are there, and drop them."""
        for group in self.groups:
            group["lr"] = rate
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad()

    def tensors(self) -> dict[str, Tensor]:
        """The optimizers' memory, such as `exp_avg/NAME` and `step/NAME`, sharded as the parameters are."""
        return {
            f"{key}/{name}": value
            for name, parameter in self._parameters.items()
            for optimizer in self._optimizers
            for key, value in sorted(optimizer.state.get(parameter, {}).items())
        }

    def load_tensors(self, tensors: Mapping[str, Tensor], where: str) -> None:
        """Take over the memory that `tensors` listed, whole; it is sharded here.

        Raises:
            InputError: A part of a parameter's memory is missing.
        """
        names = {id(parameter): name for name, parameter in self._parameters.items()}
        for optimizer in self._optimizers:
            keys = ("momentum_buffer",) if isinstance(optimizer, torch.optim.Muon) else ("exp_avg", "exp_avg_sq", STEP)
            state: dict[int, dict[str, Tensor]] = {}
            order = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            for number, parameter in enumerate(order):
                name = names[id(parameter)]
                if not any(f"{key}/{name}" in tensors for key in keys):
                    continue  # it has never had a gradient, such as a table of conditions that the data does not use
                state[number] = {}
                for key in keys:
                    whole = tensors.get(f"{key}/{name}")
                    if whole is None:
                        raise InputError(f"{where}: the optimizer's state lacks {key}/{name}")
                    state[number][key] = whole if key == STEP else shard_like(whole, parameter)
            # Through the public door, which also puts each tensor where this optimizer wants it.
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _is_block_matrix(name: str, value: Tensor) -> bool:
    """Whether Muon takes it: a table is looked up row by row and has no directions to even out."""
    return value.dim() == 2 and name.startswith("layers.") and "norm" not in name
