"""One process or many: the few operations in which they differ.

Under `torchrun` each process drives one device; DDP copies the model to each, FSDP2 (`fully_shard`) spreads it. A
plain `python` run is the same code with one process and no communication.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from unitlm.errors import InputError
from unitlm.model import Decoder

Strategy = Literal["ddp", "fsdp"]

# FSDP2's caches keep gloo's threads alive. A thread that lets go of the last collective's tensors, which wants Python's
# lock, while the interpreter is shutting down brings the process down ("terminate called without an active
# exception"), though all has been done. So each thread is given the time to come to rest.
GLOO_REST_S = 0.2


@dataclass(frozen=True)
class Processes:
    """Who takes part in a run.

    Attributes:
        rank: This process's number.
        count: How many there are.
        device: What this one computes on.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and talks to the user."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """Add up `tensor` over all processes, in place."""
        if self.count > 1:
            dist.all_reduce(tensor)
        return tensor

    def any(self, flag: bool) -> bool:
        """Whether `flag` is set in any process. Every process waits here for all others."""
        return bool(self.sum(torch.tensor(int(flag), device=self.device)).item())


@contextmanager
def join_processes(device: str = "auto") -> Iterator[Processes]:
    """Take part in the run that `torchrun` started, or be its only process.

    A process group that the caller has opened already is used and left open.

    Args:
        device: `auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`.

    Raises:
        InputError: CUDA is asked for and there is none.
    """
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"device {device!r}: this machine has no CUDA device")
    kind = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    launched = "RANK" in os.environ and "WORLD_SIZE" in os.environ
    if kind == "cuda":  # torch wants the number
        kind = f"cuda:{os.environ.get('LOCAL_RANK', '0') if launched else torch.cuda.current_device()}"
    chosen = torch.device(kind)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    opened = launched and not dist.is_initialized()
    if opened:
        on_cuda = chosen.type == "cuda"
        dist.init_process_group("nccl" if on_cuda else "gloo", device_id=chosen if on_cuda else None)
    try:
        if dist.is_initialized():
            yield Processes(dist.get_rank(), dist.get_world_size(), chosen)
        else:
            yield Processes(0, 1, chosen)
    finally:
        if opened:
            dist.destroy_process_group()
            if chosen.type == "cpu":
                time.sleep(GLOO_REST_S)


def parallelize(model: Decoder, strategy: Strategy, processes: Processes, *, bf16: bool) -> nn.Module:
    """Prepare `model`, which is on its device already, for training by all processes.

    Args:
        model: The model; every process goes on with the first one's weights. FSDP2 changes it in place.
        strategy: `ddp` or `fsdp`.
        processes: Who takes part.
        bf16: Whether FSDP2 gathers the weights in bf16 (they are kept in float32).

    Returns:
        What to call in place of `model`.
    """
    if processes.count == 1:
        return model
    for parameter in model.parameters():
        dist.broadcast(parameter.data, 0)
    if strategy == "ddp":
        return nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True)
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16 if bf16 else None, reduce_dtype=torch.float32)
    mesh = init_device_mesh(processes.device.type, (processes.count,))
    for layer in model.layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    # By default the root stays gathered after a forward pass, and would go on with the averaged weights it was
    # evaluated with when the raw ones are back.
    fully_shard(model, mesh=mesh, mp_policy=policy, reshard_after_forward=True)
    return model


def sync_gradients(parallel: nn.Module, *, now: bool) -> AbstractContextManager[None]:
    """Within the block, backward exchanges gradients (`now`) or keeps adding them up locally."""
    if isinstance(parallel, nn.parallel.DistributedDataParallel):
        return nullcontext() if now else parallel.no_sync()
    if isinstance(parallel, FSDPModule):
        parallel.set_requires_gradient_sync(now)
    return nullcontext()


def gather(tensor: Tensor) -> Tensor:
    """The whole of a tensor that may be sharded, on the CPU. Every process has to ask, in the same order."""
    tensor = tensor.detach()
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).cpu()


def shard_like(whole: Tensor, pattern: Tensor) -> Tensor:
    """`whole`, which every process has, placed and sharded as `pattern` is."""
    whole = whole.to(pattern.device)
    if not isinstance(pattern, DTensor):
        return whole
    return distribute_tensor(whole, pattern.device_mesh, pattern.placements, src_data_rank=None)


def local_part(tensor: Tensor) -> Tensor:
    """This process's part of a tensor, sharing its memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
