"""Files that only grow, a line at a time: what was written once is there after any kill."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from molregpt.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

_SYNC_SECONDS = 0.2


class AppendOnlyLines:
    """The lines of a UTF-8 file, opened by one process at a time.

    Each line is handed to the operating system as soon as it is appended, so killing the process loses none; the disk
    is waited for at most five times a second, so a power cut loses a fifth of a second.

    Attributes:
        path: The file.
        found: The lines that were there on opening, without their newlines.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the file; a last line without its newline was torn by a kill and is cut off.

        Raises:
            InputError: Another process has the file open, or it cannot be written.
        """
        self.path = path
        try:
            self._file = path.open("a+b", buffering=0)
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror})") from None
        try:
            self._lock()
            self._file.seek(0)
            content = self._file.readall()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                self._file.truncate(whole)
        except BaseException:
            self._file.close()
            raise
        self.found = content[:whole].decode(errors="replace").split("\n")[:-1]
        self._synced = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def append(self, line: str) -> None:
        """Write one line; it holds no newline of its own."""
        content = (line + "\n").encode()
        # One write a line, on an unbuffered file in append mode: a killed process tears at most the last line.
        written = self._file.write(content)
        while written is not None and written < len(content):
            content = content[written:]
            written = self._file.write(content)
        if time.monotonic() - self._synced > _SYNC_SECONDS:
            self._sync()

    def close(self) -> None:
        """Wait for the disk and let the file go."""
        if not self._file.closed:
            self._sync()
            self._file.close()

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
