"""The append-only file of answered rows: what was answered once is never asked again, whatever kills the run."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from molregpt.errors import InputError
from molregpt.evaluation.rows import EvaluatedRow

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_SYNC_SECONDS = 0.2


class Journal:
    """The rows of one run as lines of a file, opened by one process at a time.

    Each row is handed to the operating system as soon as it is known, so killing the process loses none; the disk is
    waited for at most five times a second, so a power cut loses a fifth of a second.

    Attributes:
        rows: Rows answered so far by their position in the test table.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the journal, and read what an earlier run left.

        A last line without its newline was being written when the run was killed: it is cut off and that row is asked
        again.

        Raises:
            InputError: Another run has the file open, it cannot be written, or a complete line of it is not a row.
        """
        self.path = path
        self.rows: dict[int, EvaluatedRow] = {}
        try:
            self._file = path.open("a+b", buffering=0)
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror})") from None
        try:
            self._lock()
            self._read()
        except BaseException:
            self._file.close()
            raise
        self._synced = time.monotonic()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def append(self, row: EvaluatedRow) -> None:
        """Write one answered row."""
        line = (row.to_json() + "\n").encode()
        # One write per row, on an unbuffered file in append mode: a killed process tears at most the last line.
        written = self._file.write(line)
        while written is not None and written < len(line):
            line = line[written:]
            written = self._file.write(line)
        self.rows[row.position] = row
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
            raise InputError(f"{self.path}: another run is writing to this folder") from None

    def _read(self) -> None:
        self._file.seek(0)
        content = self._file.readall()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            self._file.truncate(whole)
        for number, line in enumerate(content[:whole].split(b"\n")[:-1], start=1):
            try:
                row = EvaluatedRow.from_json(line.decode())
            except ValueError:
                raise InputError(f"{self.path}, line {number}: not a row of an evaluation") from None
            self.rows[row.position] = row
