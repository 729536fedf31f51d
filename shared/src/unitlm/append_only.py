"""Files that only grow, a line at a time: what was written once is there after any kill."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from unitlm.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

_SYNC_SECONDS = 0.2


class AppendOnlyLines:
    """The lines of a UTF-8 file, opened by one process at a time.

    Lines are handed to the operating system as soon as they are appended, so killing the process loses none; the disk
    is waited for at most five times a second, so a power cut loses a fifth of a second.

    Attributes:
        path: The file.
        found: The lines that were there on opening, without their line breaks.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the file; a last line without its line break was torn by a kill and is cut off.

        Raises:
            InputError: It cannot be written, or another process writes to it.
        """
        self.path = path
        try:
            self._file = path.open("a+b", buffering=0)
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror})") from None
        try:
            self._lock()
            self.found = self._read_whole_lines()
        except BaseException:
            self._file.close()
            raise
        self._synced = time.monotonic()

    def append(self, *lines: str) -> None:
        """Write lines; they hold no line breaks of their own.

        Raises:
            InputError: The disk is full; the line that was torn is cut off when the file is opened again.
        """
        content = "".join(f"{line}\n" for line in lines).encode()
        try:
            # Unbuffered and in append mode: a killed process tears at most the last line.
            while content:
                content = content[self._file.write(content) or 0 :]
            if time.monotonic() - self._synced > _SYNC_SECONDS:
                self._sync()
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written ({error.strerror})") from error

    def clear(self) -> None:
        """Forget all lines."""
        self._file.truncate(0)

    def close(self) -> None:
        """Wait for the disk and let the file go."""
        if not self._file.closed:
            self._sync()
            self._file.close()

    def _read_whole_lines(self) -> list[str]:
        self._file.seek(0)
        content = self._file.readall()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            self._file.truncate(whole)
        return content[:whole].decode(errors="replace").split("\n")[:-1]

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def _lock(self) -> None:
        if sys.platform == "win32":
            return
        import fcntl

        try:
            fcntl.flock(self._file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"{self.path}: another run is writing to it") from None
