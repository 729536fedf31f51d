"""What the layouts of published corpora have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from polyvoice.corpus.tables import read_lines
from polyvoice.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from polyvoice.corpus.manifest import PairRow

_PLAIN_CODES = {"cmn": "zh"}


@dataclass(frozen=True, slots=True)
class Imported:
    """The rows of a corpus.

    Attributes:
        rows: In the corpus's order, with its splits.
        missing: Rows left out because an audio file of theirs is not there.
    """

    rows: tuple[PairRow, ...]
    missing: int


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording of Common Voice.

    Attributes:
        path: The file name in `clips`, such as `common_voice_es_18306544.mp3`.
        sentence: What is said.
        speaker: The reader's `client_id`.
    """

    path: str
    sentence: str
    speaker: str


def plain_code(code: str) -> str:
    """The language of a code with a region: `zh` of `zh-CN` and of `cmn_hans_cn`, `es` of `es_419`."""
    language = code.replace("-", "_").split("_")[0].lower()
    return _PLAIN_CODES.get(language, language)


def read_clips(validated: Path) -> dict[str, Clip]:
    """Read `validated.tsv` of a Common Voice release: its clips by file name.

    Raises:
        InputError: The file cannot be read, or a column is missing.
    """
    table = read_escaped(validated, ("path", "sentence", "client_id"))
    return {path: Clip(path, sentence, speaker) for path, sentence, speaker in table}


def read_escaped(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    r"""Yield columns of a table as Common Voice and CoVoST write it: no quoting, `\` before what it escapes.

    Raises:
        InputError: The file cannot be read, a column is missing, or a line is too short.
    """
    lines = read_lines(path)
    header = next(lines, None)
    names = header.cells if header is not None else ()
    for column in columns:
        if column not in names:
            raise InputError(f"{path}: no column {column!r}; the columns are {', '.join(names)}")
    positions = [names.index(column) for column in columns]
    for line in lines:
        if len(line.cells) <= max(positions):
            raise InputError(f"{path}, line {line.number}: {len(names)} columns expected, {len(line.cells)} found")
        yield tuple(_unescape(line.cells[position]) for position in positions)


def check_found(imported: Imported, what: str) -> Imported:
    """Return what was imported.

    Raises:
        InputError: It has no row.
    """
    if not imported.rows:
        raise InputError(f"{what}: no row is left; of {imported.missing}, an audio file is not there")
    return imported


def _unescape(cell: str) -> str:
    text, escaped = "", False
    for character in cell:
        escaped = character == "\\" and not escaped
        text += "" if escaped else character
    return " ".join(text.split())
