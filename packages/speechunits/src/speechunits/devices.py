"""Torch devices, as users name them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speechunits.errors import InputError

if TYPE_CHECKING:
    import torch


def require_device(name: str) -> torch.device:
    """The torch device of this name.

    Raises:
        InputError: there is none, or this machine or this torch cannot use it.
    """
    import torch

    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise InputError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}") from error
