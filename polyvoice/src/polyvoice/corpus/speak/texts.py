"""What is to be spoken: rows that say the same in two or more languages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polyvoice.corpus.manifest import SPLITS, PairRow, read_manifest
from polyvoice.corpus.splits import Shares, split_groups
from polyvoice.corpus.tables import read_table
from polyvoice.errors import InputError
from polyvoice.languages import is_language

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from polyvoice.corpus.tables import Table

_KEY = re.compile(r"[\w.+-]+")
_NO_LANGUAGE = ("key", "id")


@dataclass(frozen=True, slots=True)
class TextRow:
    """One meaning in several languages.

    Attributes:
        key: Unique in its table; part of the names of audio files.
        texts: Language and text, in the table's order.
        split: `train`, `dev` or `test`.
    """

    key: str
    texts: tuple[tuple[str, str], ...]
    split: str


@dataclass(frozen=True, slots=True)
class TextTable:
    """Texts, and the pairs of languages in which they are translations.

    Attributes:
        rows: What is to be spoken.
        pairs: Source and target languages, such as `("zh", "en")`.
    """

    rows: tuple[TextRow, ...]
    pairs: tuple[tuple[str, str], ...]


def read_texts(path: Path, pairs: Sequence[str], shares: Shares) -> TextTable:
    """Read a phrasebook or a pair manifest.

    A phrasebook has a column `key` (or `id`), a column for each language, named by its code, and perhaps `split`;
    other columns are ignored. Without a split, rows are split by their sentences (see `splits`).

    Args:
        path: The table.
        pairs: Such as `zh-en`; none stands for what the table offers: a manifest's own pairs; of a phrasebook, English
            with each of its other languages.
        shares: How much is held out where the table has no splits.

    Raises:
        InputError: The table cannot be read, has none of the languages, a key is no name for a file or stands there
            twice, or a row of a manifest has no text; the message names the file and the line.
    """
    table = read_table(path)
    if table.find("source_lang") is not None:
        return _from_manifest(read_manifest(path), path, tuple(map(_parse_pair, pairs)))
    languages = [name for name in table.header if is_language(name) and name not in _NO_LANGUAGE]
    wanted = tuple(map(_parse_pair, pairs)) or tuple((name, "en") for name in languages if name != "en")
    for language in {language for pair in wanted for language in pair}:
        table.require(language)
    if not wanted:
        raise InputError(f"{path}: no columns of two languages; the columns are {', '.join(table.header)}")
    return TextTable(
        _from_phrasebook(table, [name for name in languages if any(name in p for p in wanted)], shares), wanted
    )


def _from_phrasebook(table: Table, languages: Sequence[str], shares: Shares) -> tuple[TextRow, ...]:
    key_at = table.require("id" if table.find("key") is None else "key")
    split_at = table.find("split")
    texts = [
        tuple(
            (language, row.cells[table.require(language)])
            for language in languages
            if row.cells[table.require(language)]
        )
        for row in table.rows
    ]
    splits = split_groups(texts, shares) if split_at is None else [row.cells[split_at] for row in table.rows]
    rows = []
    seen: dict[str, int] = {}
    for row, spoken, split in zip(table.rows, texts, splits, strict=True):
        where = f"{table.path}, line {row.number}"
        key = row.cells[key_at]
        _check_key(key, where)
        if key in seen:
            raise InputError(f"{where}: key {key!r} is already on line {seen[key]}")
        if split not in SPLITS:
            raise InputError(f"{where}: split {split!r} is none of {', '.join(SPLITS)}")
        seen[key] = row.number
        rows.append(TextRow(key, spoken, split))
    return tuple(rows)


def _from_manifest(rows: Sequence[PairRow], path: Path, wanted: tuple[tuple[str, str], ...]) -> TextTable:
    found: dict[tuple[str, str], None] = {}
    texts = []
    for row in rows:
        pair = (row.source_lang, row.target_lang)
        if wanted and pair not in wanted and pair[::-1] not in wanted:
            continue
        if row.source_text is None or row.target_text is None:
            raise InputError(f"{path}: row {row.id!r} has no text to be spoken")
        _check_key(row.id, f"{path}, row {row.id!r}")
        found[pair] = None
        texts.append(TextRow(row.id, ((pair[0], row.source_text), (pair[1], row.target_text)), row.split))
    if not texts:
        raise InputError(f"{path}: no row of the languages asked for")
    return TextTable(tuple(texts), wanted or tuple(found))


def _check_key(key: str, where: str) -> None:
    if not _KEY.fullmatch(key):
        raise InputError(
            f"{where}: key {key!r} is not made of letters, digits and . _ + - only, as files are named by it"
        )


def _parse_pair(pair: str) -> tuple[str, str]:
    source, dash, target = pair.partition("-")
    if not (dash and is_language(source) and is_language(target)) or source == target:
        raise InputError(f"{pair!r} is not a pair of languages such as zh-en")
    return source, target
