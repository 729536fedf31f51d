"""Names for weights: equal numbers have equal names, whatever file they came in."""

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def digest_tensors(tensors: Mapping[str, "Tensor"]) -> str:
    """Return `sha256:` and 16 hexadecimal digits over names, types, shapes and values; the order does not matter."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        # As bytes: numpy has no bfloat16. A scalar has no axis to view, so it gets one.
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return f"sha256:{digest.hexdigest()[:16]}"
