"""Files that are either whole or not there, and folders that belong to one run at a time."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from speechunits.errors import InputError


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that no reader ever sees half of it.

    Args:
        path: the file to write; its folder must exist.
        content: all of the file.

    Raises:
        InputError: the folder of `path` does not exist or cannot be written, or the disk is full.
    """
    folder = path.parent
    if not folder.is_dir():
        raise InputError(f"{path}: the folder {folder} does not exist")
    try:
        _write(path, content, folder)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error


def _write(path: Path, content: bytes, folder: Path) -> None:
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


@contextmanager
def hold_folder(folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Own a folder; the system lets go of it when the process ends, however it ends, and no file is left in it.

    Args:
        folder: it exists.
        shared: several may hold it, if all of them say so.

    Raises:
        InputError: another process holds it.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{folder}: another run is writing to it") from None
        except OSError:
            # Some network disks cannot lock folders: then nobody is kept out, and whole files are all that is promised.
            pass
        yield
    finally:
        os.close(descriptor)
