"""Rows of TSV, CSV, SMILES and SDF files, plain or gzipped, streamed; a bad row is reported, never dropped."""

from __future__ import annotations

import csv
import gzip
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TextIO

from molindex.errors import InputError

TableFormat = Literal["tsv", "csv", "smi", "sdf"]
Backslashes = Literal["single", "keep"]

_SUFFIXES: dict[str, TableFormat] = {
    ".tsv": "tsv", ".csv": "csv", ".smi": "smi", ".smiles": "smi", ".sdf": "sdf", ".sd": "sdf",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table.

    Attributes:
        number: Where it is: the line on which it begins (the header is line 1), or in SDF the record, from 1.
        key: Its identifier.
        smiles: The molecule; empty when the table has no such column.
        text: The description; empty when none was asked for.
    """

    number: int
    key: str
    smiles: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Rejected:
    """One row that cannot be used: where it is (as in `Row`) and why, in one line."""

    file: str
    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a TSV or CSV header, or which data fields of an SDF record, hold what.

    Attributes:
        key: The identifier; empty: the row's number is the key. In SDF empty means the title line.
        smiles: The molecule; empty: there is none. Not used for SDF, whose molecule is its structure.
        text: The description; empty: none is read.
    """

    key: str = "CID"
    smiles: str = "SMILES"
    text: str = "description"


def read_rows(
    path: Path,
    columns: Columns | None = None,
    *,
    backslashes: Backslashes = "single",
    table_format: TableFormat | None = None,
) -> Iterator[Row | Rejected]:
    r"""Read a table row by row.

    * TSV has no quoting: a `"` is an ordinary character, as in ChEBI-20. The first line names the columns.
    * CSV is quoted as in RFC 4180. The first line names the columns.
    * SMILES files have no header: a SMILES, then, after white space, the key (else the line's number).
    * SDF: the structure becomes its canonical SMILES; `columns` names data fields.

    A blank line is not a row. SMILES are not parsed here (SDF structures are): who uses them does that.

    Args:
        path: The file; `.gz` after the suffix means gzip.
        columns: Defaults to those of ChEBI-20: CID, SMILES, description.
        backslashes: `single` writes the doubled backslashes of the published ChEBI-20 SMILES as single ones, as SMILES
            defines them; both forms are the same molecule to RDKit but not to string metrics. `keep` changes nothing.
        table_format: By default told from the suffix.

    Yields:
        Every row in order, as `Row`, or `Rejected` when it has a wrong number of fields, no key, no SMILES, is not
        UTF-8, or is an SDF record that RDKit cannot read.

    Raises:
        InputError: The file is missing or cut off, its format is unknown, or its header lacks a column.
    """
    columns = columns or Columns()
    kind = table_format or _format_of(path)
    with _open_text(path) as file:
        if kind == "sdf":
            yield from _read_sdf(path, file, columns)
        elif kind == "smi":
            yield from _normalized(path, _read_smi(file), backslashes)
        else:
            yield from _normalized(path, _read_columns(path, file, columns, kind), backslashes)


class RejectFile:
    """The side file: one line (file, row, reason) for each rejected row, tab-separated under a header.

    It appears when the block ends without an error, by a rename; with nothing rejected there is no file, and one left
    by an earlier run is removed.

    Attributes:
        count: Rows written so far.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        return self

    def write(self, rejected: Rejected) -> None:
        """Add one row."""
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._temporary.open("w", encoding="utf-8", newline="\n")
            self._file.write("file\trow\treason\n")
        cells = (rejected.file, str(rejected.number), rejected.reason)
        self._file.write("\t".join(" ".join(cell.split()) for cell in cells) + "\n")
        self.count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        if kind is not None:
            self._temporary.unlink(missing_ok=True)
        elif self._file is not None:
            self._temporary.replace(self.path)
        else:
            self.path.unlink(missing_ok=True)


def _format_of(path: Path) -> TableFormat:
    name = Path(path.stem) if path.suffix == ".gz" else path
    kind = _SUFFIXES.get(name.suffix.lower())
    if kind is None:
        raise InputError(f"{path}: unknown table format; known suffixes are {', '.join(_SUFFIXES)}, each also with .gz")
    return kind


@contextmanager
def _open_text(path: Path) -> Iterator[TextIO]:
    """A text stream whose bytes that are not UTF-8 survive as surrogates, so that their row can be named."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            yield file
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: not a complete gzip file ({error})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


# What a reader of one format gives: the row's number, and its fields or why it has none.
_Fields = tuple[int, tuple[str, str, str] | str]


def _normalized(path: Path, fields: Iterable[_Fields], backslashes: Backslashes) -> Iterator[Row | Rejected]:
    for number, found in fields:
        if isinstance(found, str):
            yield Rejected(str(path), number, found)
            continue
        key, smiles, text = found
        if not _is_unicode("".join(found)):
            yield Rejected(str(path), number, "not UTF-8")
            continue
        yield Row(number, key, smiles.replace("\\\\", "\\") if backslashes == "single" else smiles, text)


def _read_columns(path: Path, file: TextIO, columns: Columns, kind: TableFormat) -> Iterator[_Fields]:
    lines = _tsv_records(file) if kind == "tsv" else _csv_records(path, file)
    _, header = next(lines, (1, []))
    wanted = {"key": columns.key, "smiles": columns.smiles, "text": columns.text}
    missing = [name for name in wanted.values() if name and name not in header]
    if missing:
        raise InputError(
            f"{path}: no column {', '.join(missing)}; the first line has: {', '.join(header)[:300] or 'nothing'}"
        )
    places = {role: header.index(name) for role, name in wanted.items() if name}
    for number, cells in lines:
        if len(cells) != len(header):
            yield number, f"{len(cells)} fields, the header has {len(header)}"
            continue
        key = cells[places["key"]].strip() if "key" in places else str(number)
        smiles = cells[places["smiles"]].strip() if "smiles" in places else ""
        text = cells[places["text"]].strip() if "text" in places else ""
        absent = [
            role for role, value in (("key", key), ("smiles", smiles), ("text", text)) if role in places and not value
        ]
        yield number, f"no {wanted[absent[0]]}" if absent else (key, smiles, text)


def _tsv_records(file: TextIO) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(file, start=1):
        if line.strip():
            yield number, line.rstrip("\r\n").split("\t")


def _csv_records(path: Path, file: TextIO) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(file)
    while True:
        number = reader.line_num + 1  # a quoted field may run over several lines: a row is named by its first
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(f"{path}: row {number}: not CSV: {error}") from error
        if cells:
            yield number, cells


def _read_smi(file: TextIO) -> Iterator[_Fields]:
    for number, line in enumerate(file, start=1):
        fields = line.split(maxsplit=1)
        if fields:
            key = fields[1].strip() if len(fields) > 1 else str(number)
            yield number, (key, fields[0], "")


def _read_sdf(path: Path, file: TextIO, columns: Columns) -> Iterator[Row | Rejected]:
    from molindex.sdf import molecule_of, records  # RDKit, which the other formats do without

    for number, record in enumerate(records(file), start=1):
        if not _is_unicode(record):
            yield Rejected(str(path), number, "not UTF-8")
            continue
        found = molecule_of(record)
        if isinstance(found, str):
            yield Rejected(str(path), number, found)
            continue
        key = found.fields.get(columns.key, "") if columns.key else found.title
        text = found.fields.get(columns.text, "") if columns.text else ""
        missing = [name for name, value in ((columns.key or "title", key), (columns.text, text)) if name and not value]
        yield Rejected(str(path), number, f"no {missing[0]}") if missing else Row(number, key, found.smiles, text)


def _is_unicode(text: str) -> bool:
    return not any("\udc80" <= character <= "\udcff" for character in text) if not text.isascii() else True
