"""Files that only grow, a line at a time: what was written once is there after any kill."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from polyvoice.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class AppendOnlyLines:
    """The lines of a UTF-8 file, opened by one process at a time.

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

    def append(self, lines: Sequence[str]) -> None:
        """Write lines, and wait until the disk has them; they hold no line breaks of their own."""
        content = "".join(f"{line}\n" for line in lines).encode()
        # Unbuffered and in append mode: a killed process tears at most the last line.
        while content:
            content = content[self._file.write(content) or 0 :]
        os.fsync(self._file.fileno())

    def clear(self) -> None:
        """Forget all lines."""
        self._file.truncate(0)

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def _read_whole_lines(self) -> list[str]:
        self._file.seek(0)
        content = self._file.readall()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            self._file.truncate(whole)
        return content[:whole].decode(errors="replace").split("\n")[:-1]

    def _lock(self) -> None:
        if sys.platform == "win32":
            return
        import fcntl

        try:
            fcntl.flock(self._file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"{self.path}: another run is writing to it") from None
