"""Compiled blocks for long training runs: norms, rotations, gates and dropout fuse into single passes.

The functions stay those of `unitlm.model`; inductor only writes what lies between the matrix products, in C++ or as
Triton's kernels. That costs a minute at the start, so short runs do without, and so does a machine without a compiler.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import torch

from unitlm.model import Decoder

LEAST_WORK = {"cpu": 1e14, "cuda": 2e16}
"""Floating-point operations of a run from which on compiling pays: ten minutes of a processor core, or of an H100.

There a model of 11 M parameters went from 470,000 to 690,000 tokens a second after 70 s of compiling.
"""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
logger = logging.getLogger(__name__)


def is_worthwhile(model: Decoder, tokens: int, device: torch.device) -> bool:
    """Whether training on so many tokens takes long enough: those of the whole run, so that resuming changes nothing.

    A run that is given another end may change sides, and rounds differently from there on.

    A token costs six operations for each parameter (Kaplan et al., arXiv 2001.08361, section 2.1).
    """
    work = 6.0 * sum(value.numel() for value in model.parameters()) * tokens
    return work >= LEAST_WORK.get(device.type, float("inf"))


@contextmanager
def compiled_blocks(model: Decoder) -> Iterator[None]:
    """Train `model` with compiled blocks inside the context, where that is possible; evaluation stays as it is."""
    if not can_compile(model.embedding.weight.device):
        yield
        return
    halves = ("enter", "leave")
    for layer in model.layers:
        for name in halves:
            setattr(layer, name, _compiled_for_training(getattr(layer, name)))
    try:
        yield
    finally:
        for layer in model.layers:
            for name in halves:
                delattr(layer, name)  # the class's own method comes back


def can_compile(device: torch.device) -> bool:
    """Whether torch finds a working compiler for a device; if not, says so."""
    try:
        torch.compile(torch.sin)(torch.ones(2, device=device))
    except RuntimeError as error:  # the base of all that dynamo and inductor raise
        logger.warning("training goes on without compiled blocks: %s", str(error).strip().partition("\n")[0])
        return False
    return True


def _compiled_for_training(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """A compiled version of `function`, used where gradients are wanted; all layers share its code."""
    compiled = torch.compile(function, dynamic=False)

    def choose(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        return (compiled if torch.is_grad_enabled() else function)(*arguments, **named)

    return choose
