"""An exponential moving average of the weights: what is evaluated and shipped, while the raw weights keep learning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from unitlm.distributed import local_part


class WeightAverage:
    """A second copy of the trainable weights that follows them slowly.

    Attributes:
        tensors: The averages by parameter name, sharded as the parameters are.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        """Start at the present weights.

        Args:
            parameters: The weights to follow, by name.
            decay: How much of the average stays at each step, once the run is long enough for it.
        """
        self.tensors: dict[str, Tensor] = {name: value.detach().clone() for name, value in parameters.items()}
        self._parameters, self._decay = parameters, decay

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Follow the weights after `step` (from 1); early steps count for more, or the start would never fade."""
        decay = min(self._decay, (1.0 + step) / (10.0 + step))
        averages = [local_part(tensor) for tensor in self.tensors.values()]
        weights = [local_part(parameter.detach()) for parameter in self._parameters.values()]
        torch._foreach_lerp_(averages, weights, 1.0 - decay)  # one launch for all on a GPU

    @contextmanager
    def in_place_of_weights(self) -> Iterator[None]:
        """Let the model run with the averages inside the block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        # Values move, not tensors: the optimizer, DDP and FSDP all hold on to the tensors.
        for name, parameter in self._parameters.items():
            held, average = local_part(parameter.detach()), local_part(self.tensors[name])
            kept = held.clone()
            held.copy_(average)
            average.copy_(kept)
