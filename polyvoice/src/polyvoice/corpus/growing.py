"""A table that only grows, a row at a time: what was written once is there after any kill."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from polyvoice.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self


class GrowingTable:
    """A tab-separated table that one process at a time adds rows to.

    Attributes:
        path: The file.
        keys: The first cells of its rows.
    """

    def __init__(self, path: Path, header: Sequence[str]) -> None:
        """Open or begin the table; a last line without its line break was torn by a kill and is cut off.

        Raises:
            InputError: It cannot be written, another process writes to it, or its header is another.
        """
        self.path = path
        try:
            self._file = path.open("a+b", buffering=0)
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror})") from None
        try:
            self._lock()
            lines = self._read_whole_lines()
            expected = "\t".join(header)
            if lines and lines[0] != expected:
                raise InputError(f"{path}, line 1: not a table of {', '.join(header)}")
            if not lines:
                self._write([expected])
            self.keys = {line.partition("\t")[0] for line in lines[1:]}
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, lines: Sequence[str]) -> None:
        """Write rows, and wait until the disk has them; they hold no line breaks of their own."""
        self._write(lines)
        self.keys |= {line.partition("\t")[0] for line in lines}

    def _write(self, lines: Sequence[str]) -> None:
        content = "".join(f"{line}\n" for line in lines).encode()
        while content:
            written = self._file.write(content) or 0
            content = content[written:]
        os.fsync(self._file.fileno())

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
