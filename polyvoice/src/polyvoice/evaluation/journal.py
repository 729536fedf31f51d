"""Append-only files of rows: what was done once is never done again, whatever kills the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from polyvoice.errors import InputError
from unitlm.append_only import AppendOnlyLines

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self


class JournalRow(Protocol):
    """A row that knows its place in the manifest."""

    @property
    def position(self) -> int:
        """From 0."""

    @property
    def id(self) -> str:
        """The manifest's id."""

    def to_json(self) -> str:
        """The row as one line of JSON."""


Row = TypeVar("Row", bound=JournalRow)


class Journal(Generic[Row]):
    """Rows as lines of a file, opened by one process at a time.

    A line is handed to the operating system and to the disk as soon as it is appended.

    Attributes:
        path: the file.
        rows: rows by their position in the manifest.
    """

    def __init__(self, path: Path, parse: Callable[[str], Row], ids: Mapping[int, str]) -> None:
        """Open or create the file and read what an earlier run left; a line that a kill tore is cut off.

        Args:
            path: the file.
            parse: makes a row of a line; raises ValueError where it cannot.
            ids: the manifest's ids by position.

        Raises:
            InputError: another run has the file open, it cannot be written, or a whole line of it is no row of the
                manifest.
        """
        self.path = path
        self.rows: dict[int, Row] = {}
        self._lines = AppendOnlyLines(path)
        try:
            self._parse(parse, ids)
        except BaseException:
            self._lines.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()

    def append(self, row: Row) -> None:
        """Write one row."""
        self._lines.append(row.to_json())
        self.rows[row.position] = row

    def clear(self) -> None:
        """Forget all rows."""
        self._lines.clear()
        self.rows.clear()

    def _parse(self, parse: Callable[[str], Row], ids: Mapping[int, str]) -> None:
        for number, line in enumerate(self._lines.found, start=1):
            try:
                row = parse(line)
            except ValueError:
                raise InputError(f"{self.path}, line {number}: not a row of an evaluation") from None
            if ids.get(row.position) != row.id:
                raise InputError(
                    f"{self.path}, line {number}: row {row.id} is not at place {row.position} of the table"
                )
            self.rows[row.position] = row
