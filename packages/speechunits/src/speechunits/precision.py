"""Whether a device multiplies bf16 by itself: where a processor only emulates it, float32 is several times as fast."""

from __future__ import annotations

import platform

import torch


def has_bf16(device: torch.device) -> bool:
    """True for GPUs, and for processors with instructions for bf16; torch has no public question for the latter."""
    if device.type != "cpu":
        return True
    if platform.machine().lower() in ("x86_64", "amd64"):
        return bool(torch.cpu._is_avx512_bf16_supported())
    return bool(torch._C._has_mkldnn and torch.ops.mkldnn._is_mkldnn_bf16_supported())
