"""What this package raises when the input, not the program, is at fault, and what a disk says."""

import errno

DISK_ERRORS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR),
)
"""What `OSError.errno` is when a disk is full, broken, not to be written, or has a file where a folder should be."""


class InputError(ValueError):
    """The input is wrong; the message is one line that says what and where. Commands exit with status 2 on it."""


class DivergedError(InputError, FloatingPointError):
    """A training has left the numbers: the data or, more often, the learning rate is at fault."""
