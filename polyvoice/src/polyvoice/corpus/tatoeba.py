"""Sentence pairs of Tatoeba (CC BY 2.0 FR): everyday language, short, by volunteers.

Two layouts are read: what tatoeba.org's download page calls sentence pairs (no header; id, sentence, id of the
translation, translation), and a table with a header of language codes and `tatoeba_CODE` ids.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polyvoice.corpus.manifest import PairRow
from polyvoice.corpus.splits import Shares, count_words, normalize_sentence, split_groups
from polyvoice.corpus.tables import Table, read_lines, read_table
from polyvoice.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_DIGIT = re.compile(r"\d")
_ID = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class TatoebaSettings:
    """Which pairs are wanted.

    Attributes:
        source: Language of the first sentence, such as `en`.
        target: Language of its translation, such as `zh`.
        longest: Words that a sentence may have; of Chinese and Japanese, two characters count as a word. 0 is no limit.
        keep_numbers: Keep sentences with digits, which may be read in more than one way.
        simplify: Write Chinese in simplified characters (needs opencc); Tatoeba mixes both.

    Raises:
        InputError: `longest` is negative.
    """

    source: str = "en"
    target: str = "zh"
    longest: int = 8
    keep_numbers: bool = False
    simplify: bool = True

    def __post_init__(self) -> None:
        if self.longest < 0:
            raise InputError(f"sentences have at most 0 (no limit) or more words, not {self.longest}")


@dataclass(frozen=True, slots=True)
class _Pair:
    key: str
    source: str
    target: str


def read_tatoeba(path: Path, settings: TatoebaSettings, shares: Shares) -> list[PairRow]:
    """Read sentence pairs as rows without audio, to be spoken by `polyvoice corpus speak`.

    Pairs that say the same words as one before are left out. Splits are by sentence: sentences that share a translation
    are on one side (see `splits.split_groups`).

    Raises:
        InputError: The file is of neither layout, opencc is missing, or no pair is left.
    """
    convert = _load_converter() if settings.simplify and "zh" in (settings.source, settings.target) else None
    pairs: dict[tuple[str, str], _Pair] = {}
    for pair in _read_pairs(path, settings):
        source, target = (
            convert(text) if convert and language == "zh" else text
            for text, language in ((pair.source, settings.source), (pair.target, settings.target))
        )
        if _is_wanted(source, settings) and _is_wanted(target, settings):
            words = (normalize_sentence(source), normalize_sentence(target))
            pairs.setdefault(words, _Pair(pair.key, source, target))
    if not pairs:
        raise InputError(f"{path}: no pair of sentences is left")
    groups = [((settings.source, pair.source), (settings.target, pair.target)) for pair in pairs.values()]
    return [
        PairRow(pair.key, None, settings.source, pair.source, None, settings.target, pair.target, None, split)
        for pair, split in zip(pairs.values(), split_groups(groups, shares), strict=True)
    ]


def _is_wanted(text: str, settings: TatoebaSettings) -> bool:
    if _DIGIT.search(text) and not settings.keep_numbers:
        return False
    return count_words(text) > 0 and (not settings.longest or count_words(text) <= settings.longest)


def _read_pairs(path: Path, settings: TatoebaSettings) -> Iterator[_Pair]:
    first = next(read_lines(path), None)
    if first is None:
        raise InputError(f"{path}: the file is empty")
    if settings.source in first.cells and settings.target in first.cells:
        table = read_table(path)
        names = (f"tatoeba_{settings.source}", settings.source, f"tatoeba_{settings.target}", settings.target)
    elif len(first.cells) == 4 and _ID.fullmatch(first.cells[0]) and _ID.fullmatch(first.cells[2]):
        names = ("source_id", "source", "target_id", "target")
        table = read_table(path, names)
    else:
        raise InputError(
            f"{path}, line 1: neither id, sentence, id, translation nor a header with {settings.source}, "
            f"{settings.target} and their tatoeba_ ids"
        )
    yield from _pick(table, names)


def _pick(table: Table, names: tuple[str, str, str, str]) -> Iterator[_Pair]:
    source_id, source, target_id, target = (table.require(name) for name in names)
    for row in table.rows:
        key = f"tatoeba-{row.cells[source_id]}-{row.cells[target_id]}"
        yield _Pair(key, row.cells[source], row.cells[target])


def _load_converter() -> Callable[[str], str]:
    try:
        from opencc import OpenCC
    except ModuleNotFoundError:
        raise InputError("simplified characters need opencc: pip install 'polyvoice-s2st[corpus]'") from None
    converter = OpenCC("t2s")

    def convert(text: str) -> str:
        return str(converter.convert(text))

    return convert
