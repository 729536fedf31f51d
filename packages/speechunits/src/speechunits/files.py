"""Files that are either whole or not there."""

import os
import tempfile
from pathlib import Path

from speechunits.errors import InputError


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that no reader ever sees half of it.

    Args:
        path: the file to write; its folder must exist.
        content: all of the file.

    Raises:
        InputError: the folder of `path` does not exist.
    """
    folder = path.parent
    if not folder.is_dir():
        raise InputError(f"{path}: the folder {folder} does not exist")
    # The temporary file lies in the same folder because a rename is atomic only within one file system.
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o644)  # mkstemp makes files that only the owner may read
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
