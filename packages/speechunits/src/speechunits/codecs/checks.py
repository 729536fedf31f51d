"""What every codec asks of the codes that it is given."""

import numpy as np
import numpy.typing as npt

from speechunits.codecs.protocol import Codes, SoftCodes
from speechunits.errors import InputError


def require_codes(codes: Codes, levels: int, codebook_size: int) -> Codes:
    """Return codes `[K', T]` as int64.

    Args:
        codes: integers, 1 <= K' <= `levels`, T >= 1.
        levels: K of the codec.
        codebook_size: above every code.

    Raises:
        InputError: they are not like that.
    """
    values = np.asarray(codes)
    if values.ndim != 2 or values.dtype.kind not in "iu" or not 1 <= values.shape[0] <= levels:
        raise InputError(f"codes are integers [K, T] with K up to {levels}, not {values.dtype} {list(values.shape)}")
    if values.shape[1] == 0:
        raise InputError("codes have at least one frame")
    if values.min() < 0 or values.max() >= codebook_size:
        raise InputError(f"codes lie in 0 to {codebook_size - 1}, not {values.min()} to {values.max()}")
    return values.astype(np.int64)


def require_chances(codes: SoftCodes, levels: int, codebook_size: int) -> npt.NDArray[np.float32]:
    """Return the probabilities `[K - K', T, C]` of the upper levels, or of all: K' is 0 then.

    Args:
        codes: of at most `levels` levels, whose probabilities are of `codebook_size` codes.
        levels: K of the codec.
        codebook_size: C of the codec.

    Raises:
        InputError: they are not like that.
    """
    upper, _, count = codes.chances.shape
    if not upper <= len(codes.codes) <= levels or (upper and count != codebook_size):
        raise InputError(
            f"codes of {len(codes.codes)} levels, probabilities {list(codes.chances.shape)}: expected at most {levels} "
            f"levels, and of no more of them the probabilities of {codebook_size} codes"
        )
    return codes.chances
