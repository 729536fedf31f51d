"""Lists of recordings: tables whose column `audio` names a file a row."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from speechunits.errors import InputError


@dataclass(frozen=True, slots=True)
class Listed:
    """One row of a list.

    Attributes:
        audio: the path as the list wrote it, which names the recording from here on.
        path: where the file is.
    """

    audio: str
    path: Path


@dataclass(frozen=True, slots=True)
class Spoken:
    """What the report wants to know of a recording: what was said, and by whom."""

    sentence: str
    speaker: str


def read_list(path: Path) -> list[Listed]:
    """Read a list of recordings.

    Args:
        path: tab-separated UTF-8 with a header, without quoting; a column is named `audio`, others are ignored. Paths
            in it are relative to the list's folder.

    Raises:
        InputError: the file is missing, has no such column or no rows, or a row is not of the header's length.
    """
    return [Listed(audio, path.parent / audio) for [audio] in read_columns(path, ("audio",))]


def read_spoken(path: Path) -> dict[str, Spoken]:
    """Read columns `audio`, `sentence` and `speaker` of a list; sentences may be any names, such as numbers.

    Raises:
        InputError: as `read_list`, or a recording is listed twice with different sentences or speakers.
    """
    spoken: dict[str, Spoken] = {}
    for audio, sentence, speaker in read_columns(path, ("audio", "sentence", "speaker")):
        if spoken.setdefault(audio, Spoken(sentence, speaker)) != Spoken(sentence, speaker):
            raise InputError(f"{path}: {audio} is listed with two sentences or speakers")
    return spoken


def read_columns(path: Path, names: Sequence[str], *, may_be_empty: bool = False) -> list[list[str]]:
    """Read some columns of a tab-separated table with a header; none of their cells may be empty unless it is said.

    Raises:
        InputError: the file cannot be read, lacks a column or rows, or a row does not fit.
    """
    try:
        # Split by newlines alone: splitlines would also break at characters that may stand in a text.
        lines = path.read_text(encoding="utf-8-sig").replace("\r\n", "\n").rstrip("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    header = lines[0].split("\t")
    if missing := [name for name in names if name not in header]:
        raise InputError(f"{path}: has no column {', '.join(missing)}; its columns are {', '.join(header)[:300]}")
    columns = [header.index(name) for name in names]
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        cells = line.split("\t")
        if len(cells) != len(header):
            raise InputError(f"{path}: line {number} has {len(cells)} cells, the header {len(header)}")
        if not may_be_empty and (
            empty := [name for name, column in zip(names, columns, strict=True) if not cells[column]]
        ):
            raise InputError(f"{path}: line {number} has an empty {empty[0]}")
        rows.append([cells[column] for column in columns])
    if not rows:
        raise InputError(f"{path}: has no rows")
    return rows
