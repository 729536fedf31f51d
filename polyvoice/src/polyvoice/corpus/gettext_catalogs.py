"""Pairs of text from the translations of programs: GNU gettext's compiled catalogs, as every Linux system has them.

Menus, questions and messages: what OPUS collects as GNOME, KDE4 and Ubuntu (Tiedemann, LREC 2012). Short, careful, of a
register that everyday sentences lack: enter a password, the folder cannot be found, press any key.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from gettext import GNUTranslations
from typing import TYPE_CHECKING

from polyvoice.corpus.manifest import PairRow
from polyvoice.corpus.splits import Shares, count_words, normalize_sentence, split_groups
from polyvoice.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Placeholders, markup, paths and addresses: nothing that anybody says.
_NOT_SPEECH = re.compile(r"[%{}<>\\|@=/#\[\]~^*+$]|&\w+;|\d")
# The letter that a menu marks as its key: `_File`, `Save &As`, and in Chinese `文件(_F)`.
_KEY_BEHIND = re.compile(r"\s*\([_&]\w\)")
_KEY = re.compile(r"[_&](?=\w)")
_CONTEXT = "\4"


@dataclass(frozen=True, slots=True)
class GettextSettings:
    """Which messages are wanted.

    Attributes:
        source: Language that the programs are written in, mostly `en`.
        target: Language of the catalogs.
        longest: Words that a message may have; 0 is no limit.

    Raises:
        InputError: `longest` is negative.
    """

    source: str = "en"
    target: str = "es"
    longest: int = 12

    def __post_init__(self) -> None:
        if self.longest < 0:
            raise InputError(f"messages have at most 0 (no limit) or more words, not {self.longest}")


def read_catalogs(folder: Path, settings: GettextSettings, shares: Shares) -> list[PairRow]:
    """Read all `*.mo` under a folder as rows without audio.

    Messages with placeholders, markup or digits are left out, and so are those that are the same in both languages; of
    messages with the same words the first catalog's is taken. Splits are by sentence, see `splits.split_groups`.

    Args:
        folder: for example `/usr/share/locale/es/LC_MESSAGES`; its catalogs are taken to be of the target language.
        settings: which messages.
        shares: how much is held out.

    Raises:
        InputError: There is no catalog, one cannot be read, or no message is left.
    """
    paths = sorted(folder.rglob("*.mo"))
    if not paths:
        raise InputError(f"{folder}: no catalogs (*.mo) in it")
    found: dict[str, tuple[str, str]] = {}
    for path in paths:
        for message, translation in _read_catalog(path):
            source, target = _as_said(message), _as_said(translation)
            words = normalize_sentence(source)
            if words != normalize_sentence(target) and _is_wanted(source, settings) and _is_wanted(target, settings):
                found.setdefault(words, (source, target))
    if not found:
        raise InputError(f"{folder}: no message is left of {len(paths)} catalogs")
    groups = [((settings.source, source), (settings.target, target)) for source, target in found.values()]
    return [
        PairRow(_name(source, target), None, settings.source, source, None, settings.target, target, None, split)
        for (source, target), split in zip(found.values(), split_groups(groups, shares), strict=True)
    ]


def _read_catalog(path: Path) -> Iterator[tuple[str, str]]:
    """Messages with their translations; of plurals the singular."""
    try:
        with path.open("rb") as file:
            # The mapping has no public name; `gettext` alone cannot say which messages there are.
            catalog: dict[str | tuple[str, int], str] = GNUTranslations(file)._catalog  # type: ignore[attr-defined]
    # Its reader unpacks what it finds, and fails as that does not fit.
    except Exception as error:
        raise InputError(f"{path}: not a catalog of GNU gettext") from error
    for key, translation in catalog.items():
        message = key if isinstance(key, str) else key[0]
        if message and (isinstance(key, str) or key[1] == 0):
            yield message.rpartition(_CONTEXT)[2], translation


def _as_said(text: str) -> str:
    """A message without the marks that only a screen needs."""
    text = _KEY.sub("", _KEY_BEHIND.sub("", unicodedata.normalize("NFC", text)))
    return " ".join(text.replace("…", "...").replace("’", "'").rstrip(": ").split())


def _is_wanted(text: str, settings: GettextSettings) -> bool:
    if not text.isprintable() or _NOT_SPEECH.search(text) or not any(letter.isalpha() for letter in text):
        return False
    return not settings.longest or count_words(text) <= settings.longest


def _name(source: str, target: str) -> str:
    return "gettext-" + hashlib.sha256(f"{source}\n{target}".encode()).hexdigest()[:16]
