"""Tab-separated tables with one header line and no quoting, as corpora of text and speech are published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from polyvoice.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class TableRow:
    """One line of a table.

    Attributes:
        number: Line number in the file; the first line is 1.
        cells: What stands between the tabs, without white space around it.
    """

    number: int
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it stands in a file.

    Attributes:
        path: The file.
        header: The names of the columns.
        rows: The lines below the header; each has as many cells as the header.
    """

    path: Path
    header: tuple[str, ...]
    rows: tuple[TableRow, ...]

    def find(self, column: str) -> int | None:
        """The position of `column`, or None when the table has no such column."""
        return self.header.index(column) if column in self.header else None

    def require(self, column: str) -> int:
        """The position of `column`.

        Raises:
            InputError: The table has no such column.
        """
        position = self.find(column)
        if position is None:
            raise InputError(f"{self.path}: no column {column!r}; the columns are {', '.join(self.header)[:300]}")
        return position


def read_table(path: Path, header: Sequence[str] | None = None) -> Table:
    """Read a table; blank lines are skipped.

    Args:
        path: A UTF-8 file.
        header: The names of the columns, for a file that has no header line.

    Raises:
        InputError: The file cannot be read, is not UTF-8, has no line, or a line has a wrong number of cells.
    """
    lines = read_lines(path)
    names = tuple(header) if header is not None else next((row.cells for row in lines), ())
    if not names:
        raise InputError(f"{path}: the file is empty")
    rows = []
    for row in lines:
        if len(row.cells) != len(names):
            raise InputError(f"{path}, line {row.number}: {len(names)} columns expected, {len(row.cells)} found")
        rows.append(row)
    return Table(path, names, tuple(rows))


def read_lines(path: Path) -> Iterator[TableRow]:
    """Yield the lines of a table that are not blank, the header among them.

    Raises:
        InputError: The file cannot be read or is not UTF-8.
    """
    text = read_text(path)
    # str.splitlines would also break at U+2028 and form feeds, which may stand inside a sentence.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield TableRow(number, tuple(cell.strip() for cell in line.removesuffix("\r").split("\t")))


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, without the byte order mark that spreadsheet programs put first.

    Raises:
        InputError: The file cannot be read or is not UTF-8.
    """
    try:
        content = path.read_bytes()
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(f"{path}, line {line}: not UTF-8 text") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
