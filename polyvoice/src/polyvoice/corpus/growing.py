"""A table that only grows, a row at a time: what was written once is there after any kill."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyvoice.errors import InputError
from unitlm.append_only import AppendOnlyLines

if TYPE_CHECKING:
    from collections.abc import Sequence, Set
    from pathlib import Path
    from types import TracebackType
    from typing import Self


class GrowingTable:
    """A tab-separated table that one process at a time adds rows to.

    Attributes:
        path: The file.
        rows: Its rows by their first cells.
    """

    def __init__(self, path: Path, header: Sequence[str]) -> None:
        """Open or begin the table; a last line without its line break was torn by a kill and is cut off.

        Raises:
            InputError: It cannot be written, another process writes to it, or its header is another.
        """
        self.path = path
        self._lines = AppendOnlyLines(path)
        expected = "\t".join(header)
        found, *rows = self._lines.found or [expected]
        if found != expected:
            self._lines.close()
            raise InputError(f"{path}, line 1: not a table of {', '.join(header)}")
        if not self._lines.found:
            self._lines.append(expected)
        self.rows = {row.partition("\t")[0]: row for row in rows}

    @property
    def keys(self) -> Set[str]:
        """The first cells of its rows."""
        return self.rows.keys()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()

    def append(self, lines: Sequence[str]) -> None:
        """Write rows, and wait until the disk has them; they hold no line breaks of their own."""
        self._lines.append(*lines)
        self.rows |= {line.partition("\t")[0]: line for line in lines}
