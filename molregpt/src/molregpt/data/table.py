"""Reading tables of molecules and descriptions.

ChEBI-20 is published as tab-separated text without any quoting: a `"` in a description is a plain character, so a
reader that gives quotes a meaning silently joins rows. Files named `*.csv` are read with quoting, all others without.
A name that ends in `.gz` is decompressed on the way.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from molregpt.errors import InputError
from molregpt.records import Pair

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.resources.abc import Traversable
    from pathlib import Path

_LINE_KEY = re.compile(r"row-[0-9]+")


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a table hold what.

    Attributes:
        key: The row's identifier. When the table has no such column, or a cell of it is empty, the row gets the key
            `row-N` with N its line number.
        smiles: The molecule.
        caption: Its description.
        source: Where the row comes from; need not exist.
    """

    key: str = "CID"
    smiles: str = "SMILES"
    caption: str = "description"
    source: str = "source"


CHEBI20_COLUMNS = Columns()


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: the line number in the file (the header is line 1) and its cells."""

    number: int
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it stands in a file.

    Attributes:
        name: The file, as error messages name it.
        header: The column names.
        rows: The lines below the header; each has as many cells as the header.
    """

    name: str
    header: tuple[str, ...]
    rows: tuple[Row, ...]

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
            raise InputError(f"{self.name}: no column {column!r}; the columns are {', '.join(self.header)[:300]}")
        return position

    def cell(self, row: Row, position: int) -> str:
        """The cell of `row` at `position` without the white space around it.

        Raises:
            InputError: The cell is empty.
        """
        text = row.cells[position].strip()
        if not text:
            raise InputError(f"{self.name}, line {row.number}: column {self.header[position]!r} is empty")
        return text


def single_backslashes(smiles: str) -> str:
    r"""Write each doubled backslash as one.

    Many published ChEBI-20 SMILES are escaped twice (`\\` for `\`). RDKit reads both forms to the same molecule, but
    string scores, prompts and models see different text, so one form, the single one, is used everywhere. Two bond
    symbols in a row never occur in a correct SMILES, so nothing is lost.
    """
    return smiles.replace("\\\\", "\\")


def line_key(number: int) -> str:
    """The key of a row that has none: its line."""
    return f"row-{number}"


def is_line_key(key: str) -> bool:
    """Whether a key says no more than on which line a row was: rows of two tables have the same ones by chance."""
    return _LINE_KEY.fullmatch(key) is not None


def read_pairs(path: Path | Traversable, columns: Columns = CHEBI20_COLUMNS) -> list[Pair]:
    r"""Read molecules with their descriptions from a table.

    Args:
        path: A tab-separated file without quoting, or a `.csv` file with it; either may be gzipped.
        columns: The names of the columns.

    Returns:
        The pairs in the file's order; SMILES have single backslashes.

    Raises:
        InputError: The file cannot be read, a column is missing, a row has a wrong number of cells or an empty SMILES
            or description, a key occurs twice, or there is no row.
    """
    table = read_table(path)
    key_at, source_at = table.find(columns.key), table.find(columns.source)
    smiles_at, caption_at = table.require(columns.smiles), table.require(columns.caption)
    pairs: list[Pair] = []
    seen: dict[str, int] = {}
    for row in table.rows:
        key = row.cells[key_at].strip() if key_at is not None else ""
        key = key or line_key(row.number)
        if key in seen:
            raise InputError(f"{table.name}, line {row.number}: key {key!r} is already on line {seen[key]}")
        seen[key] = row.number
        pairs.append(
            Pair(
                key=key,
                smiles=single_backslashes(table.cell(row, smiles_at)),
                caption=table.cell(row, caption_at),
                source=row.cells[source_at].strip() if source_at is not None else "",
            )
        )
    if not pairs:
        raise InputError(f"{table.name}: the table has no rows")
    return pairs


def read_names(path: Path | Traversable) -> dict[str, str]:
    """Read systematic names by SMILES, from the columns SMILES and name; empty where a molecule is known to have none.

    Raises:
        InputError: The file cannot be read or a column is missing.
    """
    table = read_table(path)
    smiles_at, name_at = table.require(CHEBI20_COLUMNS.smiles), table.require("name")
    return {single_backslashes(table.cell(row, smiles_at)): row.cells[name_at].strip() for row in table.rows}


def read_table(path: Path | Traversable) -> Table:
    """Read a table with one header line; blank lines are skipped.

    Raises:
        InputError: The file cannot be read, is not UTF-8, is empty, or a row has a wrong number of cells.
    """
    text = _read_text(path)
    base = path.name.lower().removesuffix(".gz")
    numbered = _quoted_lines(text, str(path)) if base.endswith(".csv") else _plain_lines(text)
    try:
        _, names = next(numbered)
    except StopIteration:
        raise InputError(f"{path}: the file is empty") from None
    header = tuple(name.strip() for name in names)
    rows = []
    for number, cells in numbered:
        if len(cells) != len(header):
            raise InputError(f"{path}, line {number}: {len(header)} columns expected, {len(cells)} found")
        rows.append(Row(number, tuple(cells)))
    return Table(str(path), header, tuple(rows))


def _read_text(path: Path | Traversable) -> str:
    try:
        content = path.read_bytes()
        if path.name.lower().endswith(".gz"):
            content = gzip.decompress(content)
        # Spreadsheet programs start UTF-8 files with a byte order mark; it is no part of the first column's name.
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(f"{path}, line {line}: not UTF-8 text") from None
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path}: cannot be read ({reason})") from None


def _plain_lines(text: str) -> Iterator[tuple[int, Sequence[str]]]:
    # str.splitlines would also break at U+2028 and form feeds, which may stand inside a description.
    for number, line in enumerate(text.split("\n"), start=1):
        if stripped := line.removesuffix("\r"):
            yield number, stripped.split("\t")


def _quoted_lines(text: str, name: str) -> Iterator[tuple[int, Sequence[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    number = 1
    try:
        for cells in reader:
            if cells:
                yield number, cells
            number = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{name}, line {reader.line_num}: {error}") from None
