"""The pair manifest: a tab-separated table with one row for each utterance and its translation.

Every importer writes it, and training, extraction and evaluation read it. It has a header and no quoting; paths of
audio files are relative to the manifest's own folder, so that a corpus can be moved as a whole.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from polyvoice.corpus.tables import Table, TableRow, read_table
from polyvoice.errors import InputError
from polyvoice.languages import check_language
from speechunits.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMNS = (
    "id",
    "source_audio",
    "source_lang",
    "source_text",
    "target_audio",
    "target_lang",
    "target_text",
    "speaker",
    "split",
)
"""The columns of a manifest, in the order in which they are written."""

REQUIRED = ("id", "source_audio", "source_lang", "target_lang")
"""The columns that every manifest has; each of the others may be left out."""

SPLITS = ("train", "dev", "test")

# Besides tab and line feed, a lone carriage return would be lost in reading.
_BREAKS = re.compile(r"[\t\n\r]")


@dataclass(frozen=True, slots=True)
class PairRow:
    """An utterance and its translation; None stands for what is not there.

    A row may lack the text of a side (an unwritten language), the audio of both (pairs of text), or, where it is only
    to be translated, all of the target.

    Attributes:
        id: Unique in its manifest.
        source_audio: Audio file of what is translated.
        source_lang: Its language, such as `zh`.
        source_text: What is said in it.
        target_audio: Audio file of the translation.
        target_lang: Its language.
        target_text: What is said in it.
        speaker: Who speaks both sides.
        split: `train`, `dev` or `test`.

    Raises:
        InputError: The id is empty, a language is not a code, the split is none of the three, the source has neither
            audio nor text, or a cell holds a tab or a line break.
    """

    id: str
    source_audio: Path | None
    source_lang: str
    source_text: str | None
    target_audio: Path | None
    target_lang: str
    target_text: str | None
    speaker: str | None
    split: str

    def __post_init__(self) -> None:
        if not self.id:
            raise InputError("the id is empty")
        for language in (self.source_lang, self.target_lang):
            check_language(language)
        if self.split not in SPLITS:
            raise InputError(f"split {self.split!r} is none of {', '.join(SPLITS)}")
        if not self.source_audio and not self.source_text:
            raise InputError("the source has neither audio nor text")
        for cell in (self.id, self.source_text, self.target_text, self.speaker):
            if cell is not None and (not cell.strip() or cell != cell.strip() or _BREAKS.search(cell)):
                raise InputError(f"{cell!r} is blank, has white space around it, or holds a tab or a line break")


def read_manifest(path: Path) -> list[PairRow]:
    """Read a manifest; columns that it has beside `COLUMNS` are ignored.

    Args:
        path: The manifest. Where it has no column `split`, it is one for evaluation: all its rows are of split `test`.

    Returns:
        Its rows in their order, with absolute paths. Whether the audio files exist is not checked.

    Raises:
        InputError: The file cannot be read, a column is missing, there is no row, a row is wrong (see `PairRow`), or
            two have the same id. The message names the file and the line.
    """
    table = read_table(path)
    for column in REQUIRED:
        table.require(column)
    folder = Path(os.path.abspath(path.parent))  # noqa: PTH100 - a linked corpus keeps the names it is known by
    rows = []
    seen: dict[str, int] = {}
    for line in table.rows:
        try:
            row = _parse(table, line, folder)
        except InputError as error:
            raise InputError(f"{path}, line {line.number}: {error}") from None
        if row.id in seen:
            raise InputError(f"{path}, line {line.number}: id {row.id!r} is already on line {seen[row.id]}")
        seen[row.id] = line.number
        rows.append(row)
    if not rows:
        raise InputError(f"{path}: the manifest has no rows")
    return rows


def turn_round(row: PairRow) -> PairRow:
    """The same row as an example of the opposite direction.

    Raises:
        InputError: The row has neither audio nor text of the target, which would be its source.
    """
    return replace(
        row,
        source_audio=row.target_audio,
        source_lang=row.target_lang,
        source_text=row.target_text,
        target_audio=row.source_audio,
        target_lang=row.source_lang,
        target_text=row.source_text,
    )


def write_manifest(path: Path, rows: Sequence[PairRow]) -> None:
    """Write a manifest, atomically.

    Args:
        path: The file; its folder exists. Audio paths are written relative to that folder.
        rows: What to write, in this order.

    Raises:
        InputError: Two rows have the same id, a path holds a tab or a line break, or the folder does not exist.
    """
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise InputError(f"{path}: two rows have the id {row.id!r}")
        seen.add(row.id)
    lines = ["\t".join(COLUMNS), *(format_row(row, path.parent) for row in rows)]
    write_atomically(path, "".join(f"{line}\n" for line in lines).encode())


def format_row(row: PairRow, folder: Path) -> str:
    """The line of a manifest in `folder` that holds a row, without its line break.

    Raises:
        InputError: A path holds a tab or a line break.
    """
    cells = (
        row.id,
        _relative(row.source_audio, folder),
        row.source_lang,
        row.source_text,
        _relative(row.target_audio, folder),
        row.target_lang,
        row.target_text,
        row.speaker,
        row.split,
    )
    return "\t".join(cell or "" for cell in cells)


def _parse(table: Table, line: TableRow, folder: Path) -> PairRow:
    def cell(column: str) -> str | None:
        position = table.find(column)
        return (line.cells[position] or None) if position is not None else None

    def audio(column: str) -> Path | None:
        name = cell(column)
        return Path(os.path.normpath(folder / name)) if name else None

    return PairRow(
        id=cell("id") or "",
        source_audio=audio("source_audio"),
        source_lang=cell("source_lang") or "",
        source_text=cell("source_text"),
        target_audio=audio("target_audio"),
        target_lang=cell("target_lang") or "",
        target_text=cell("target_text"),
        speaker=cell("speaker"),
        split=(cell("split") or "") if table.find("split") is not None else "test",
    )


def _relative(path: Path | None, folder: Path) -> str:
    if path is None:
        return ""
    # Not `resolve()`: a data set may hold links to files elsewhere, and is known by its own names.
    name = Path(os.path.relpath(path, folder)).as_posix()
    if _BREAKS.search(name) or name != name.strip():
        raise InputError(f"{name!r} cannot stand in a manifest: it holds a tab, a line break or white space around it")
    return name
