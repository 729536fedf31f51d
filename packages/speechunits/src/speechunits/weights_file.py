"""Read a file of weights, of PyTorch or of safetensors, without running what is in it."""

from pathlib import Path

import torch
from torch import Tensor

from speechunits.errors import InputError


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return a state dictionary onto the CPU.

    Args:
        path: `.safetensors`, or what `torch.save` wrote.

    Raises:
        InputError: there is no such file, or it holds something else.
    """
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    # A damaged file fails in torch's reader of opcodes, in whatever way its operands do not fit.
    except Exception as error:
        raise InputError(f"{path}: not a file of weights only") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path}: not a file of weights only")
    return state
