"""Which precision a device computes fastest in."""

from __future__ import annotations

import platform
from typing import Literal

import torch

Computing = Literal["fp32", "bf16"]


def choose_precision(asked: Literal["auto", "fp32", "bf16"], device: str = "auto") -> Computing:
    """What `auto` stands for on a device; anything else is what was asked.

    GPUs and processors with instructions for bf16 take bf16. Without such instructions its matrix products are
    emulated: on an AVX2 core of an AMD EPYC they ran at 12 GFLOP/s, fp32 at 71.

    Args:
        asked: `auto`, `fp32` or `bf16`.
        device: `auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`.
    """
    if asked != "auto":
        return asked
    if device.startswith("cuda") or (device == "auto" and torch.cuda.is_available()):
        return "bf16"
    return "bf16" if _has_bf16() else "fp32"


def _has_bf16() -> bool:
    """Whether the processor multiplies bf16 by itself; torch has no public question for it."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        return bool(torch.cpu._is_avx512_bf16_supported())
    return bool(torch._C._has_mkldnn and torch.ops.mkldnn._is_mkldnn_bf16_supported())
