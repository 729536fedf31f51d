"""Run lengths: `deduplicate` and `expand`, an exact inverse pair.

PolyVoice's translation model sees units without repeats; the removed run lengths are what its duration model predicts
(arXiv 2306.02982, section 3), so nothing may be lost between the two.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from speechunits.errors import InputError

Units: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Runs:
    """Units with the number of frames that each lasts.

    Attributes:
        units: unit ids of shape `[S]`, int64.
        lengths: frames per unit, of shape `[S]`, int64, each at least 1.

    Raises:
        InputError: the two differ in shape, are not vectors of int64, or a length is below 1.
    """

    units: Units
    lengths: Units

    def __post_init__(self) -> None:
        for name, values in (("units", self.units), ("lengths", self.lengths)):
            if values.ndim != 1 or values.dtype != np.int64:
                raise InputError(f"{name} are int64 [S], not {values.dtype} {list(values.shape)}")
        if self.units.size != self.lengths.size:
            raise InputError(f"{self.units.size} units do not go with {self.lengths.size} lengths")
        if self.lengths.size and self.lengths.min() < 1:
            position = int(np.argmin(self.lengths))
            raise InputError(f"the length at position {position} is {self.lengths[position]}, below 1")

    def __len__(self) -> int:
        return int(self.units.size)


def deduplicate(units: Units | Sequence[int]) -> Runs:
    """Merge equal neighbours.

    Args:
        units: one unit a frame, of shape `[T]`; may be empty.

    Returns:
        The runs, `[S]` with S <= T; no two neighbours are equal and the lengths sum to T.
    """
    frames = np.asarray(units, dtype=np.int64)
    if frames.ndim != 1:
        raise InputError(f"units are a vector [T], not of shape {list(frames.shape)}")
    # The first frame always starts a run: what is prepended differs from it.
    starts = np.flatnonzero(np.diff(frames, prepend=frames[:1] - 1))
    return Runs(frames[starts], np.diff(starts, append=frames.size).astype(np.int64))


def expand(runs: Runs) -> Units:
    """Repeat each unit for its frames, `[S]` -> `[T]`.

    `expand(deduplicate(units))` gives `units` back. `deduplicate(expand(runs))` gives `runs` back when no two
    neighbours are equal; a language model may well emit equal neighbours, so they are accepted here.
    """
    return np.repeat(runs.units, runs.lengths)
