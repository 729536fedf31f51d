"""The append-only file of answered rows: what was answered once is never asked again, whatever kills the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from molregpt.errors import InputError
from molregpt.evaluation.rows import EvaluatedRow
from unitlm.append_only import AppendOnlyLines

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


class Journal:
    """The rows of one run as lines of a file, opened by one process at a time.

    Attributes:
        path: The file.
        rows: Rows answered so far by their position in the test table.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the journal, and read what an earlier run left.

        A row whose line was torn by a kill is not there, and is asked again.

        Raises:
            InputError: Another run has the file open, it cannot be written, or a complete line of it is not a row.
        """
        self.path = path
        self.rows: dict[int, EvaluatedRow] = {}
        self._lines = AppendOnlyLines(path)
        for number, line in enumerate(self._lines.found, start=1):
            try:
                row = EvaluatedRow.from_json(line)
            except ValueError:
                self._lines.close()
                raise InputError(f"{path}, line {number}: not a row of an evaluation") from None
            self.rows[row.position] = row

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def append(self, row: EvaluatedRow) -> None:
        """Write one answered row."""
        self._lines.append(row.to_json())
        self.rows[row.position] = row

    def close(self) -> None:
        """Wait for the disk and let the file go."""
        self._lines.close()
