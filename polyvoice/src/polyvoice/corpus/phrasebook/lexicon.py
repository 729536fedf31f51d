"""The words: read from the tables beside this file, found by tag."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from polyvoice.corpus.phrasebook.entries import (
    Action,
    Adjective,
    Clock,
    Counting,
    Entry,
    Gender,
    Noun,
    Numeral,
    Person,
    PersonNumber,
    Role,
    Text,
)
from polyvoice.errors import InputError

_GENDERS: dict[str, Gender] = {"el": "m", "los": "m", "la": "f", "las": "f"}
_COUNTINGS: dict[str, Counting] = {"": "count", "mass": "mass", "pair": "pair", "both": "both"}
_AGREEMENTS: dict[str, PersonNumber] = {"1s": "1s", "2s": "2s", "3s": "3s", "1p": "1p", "3p": "3p"}
_PERSON_GENDERS: dict[str, Gender] = {"m": "m", "f": "f"}


@dataclass(frozen=True)
class Lexicon:
    """All entries by tag, each tag's entries in the order of the tables."""

    by_tag: dict[str, tuple[Entry, ...]]

    def select(self, category: str) -> tuple[Entry, ...]:
        """Return the entries that a slot may take.

        Args:
            category: tags, keys of single entries (spaces written `_`) and ranges of numbers (`2..10`, `10..90/10`
                in steps), joined from left to right by `+` (either) and `-` (but not), as in `clothes+bag-shoes`.

        Raises:
            InputError: nothing is called so.
        """
        chosen: dict[str, Entry] = {}
        for sign, name in re.findall(r"([+-]?)([^+-]+)", category):
            entries = tuple(_read_numbers(name)) if ".." in name else self._find(name)
            if not entries:
                raise InputError(f"category {category}: no tag or entry is called {name}")
            for entry in entries:
                if sign == "-":
                    chosen.pop(entry.key, None)
                else:
                    chosen[entry.key] = entry
        return tuple(chosen.values())

    def _find(self, name: str) -> tuple[Entry, ...]:
        """Return the entries of a tag or, where no tag is called so, the one entry."""
        if name in self.by_tag:
            return self.by_tag[name]
        key = name.replace("_", " ")
        return tuple(entry for entries in self.by_tag.values() for entry in entries if entry.key == key)[:1]


def read_rows(folder: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield the lines of one of the package's tables that say something, each with its "file:line" for messages."""
    text = (files(__package__) / folder / name).read_text(encoding="utf-8")
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.startswith("#"):
            yield f"{folder}/{name}:{number}", line


def read_table(name: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the cells of a table of words, which `;` separates."""
    for where, line in read_rows("words", name):
        yield where, [cell.strip() for cell in line.split(";")]


@cache
def load_lexicon() -> Lexicon:
    """Read all tables.

    Raises:
        InputError: a row is malformed or two entries of one kind share a key.
    """
    tables: list[tuple[str, int, Callable[[list[str]], Entry]]] = [
        ("nouns.txt", 4, _read_noun),
        ("adjectives.txt", 5, _read_adjective),
        ("people.txt", 5, _read_person),
        ("roles.txt", 4, _read_role),
        ("actions.txt", 4, _read_action),
        ("texts.txt", 4, _read_text),
    ]
    by_tag: dict[str, list[Entry]] = {}
    seen: set[tuple[type, str]] = set()
    for name, width, read in tables:
        for where, cells in read_table(name):
            if len(cells) != width:
                raise InputError(f"{where}: {len(cells)} cells, not {width}")
            try:
                entry = read(cells)
            except (KeyError, ValueError) as error:
                raise InputError(f"{where}: malformed ({error})") from error
            if (type(entry), entry.key) in seen:
                raise InputError(f"{where}: a second {entry.key}")
            seen.add((type(entry), entry.key))
            for tag in cells[-1].split():
                by_tag.setdefault(tag, []).append(entry)
    by_tag["clock"] = list(_list_clocks())
    by_tag["day_clock"] = list(_list_day_clocks())
    for part in ("morning", "afternoon", "evening"):
        by_tag[f"{part}_clock"] = [clock for clock in _list_day_clocks() if clock.part == part]
    return Lexicon({tag: tuple(entries) for tag, entries in by_tag.items()})


def _read_noun(cells: list[str]) -> Noun:
    english, note = re.fullmatch(r"(.+?)(?: \((mass|pair|both)\))?", cells[0]).groups("")  # type: ignore[union-attr]  # always matches
    counting = _COUNTINGS[note]
    english, _, english_plural = english.partition("/")
    article, _, spanish = cells[1].removesuffix(" (el)").removesuffix(" (f)").partition(" ")
    spanish, _, spanish_plural = spanish.partition("/")
    measure, chinese = cells[2].replace("-", "").split(" ")
    stressed_a = cells[1].endswith(" (f)")
    changes = counting in ("count", "both")
    return Noun(
        key=english,
        counting=counting,
        english=english,
        english_plural=english_plural or (_pluralise_english(english) if changes else english),
        spanish=spanish,
        spanish_plural=spanish_plural or (_pluralise_spanish(spanish) if changes else spanish),
        gender="f" if stressed_a else _GENDERS[article],
        stressed_a=stressed_a,
        chinese=chinese,
        measure=measure,
    )


def _read_adjective(cells: list[str]) -> Adjective:
    english, _, comparative = cells[0].partition("/")
    return Adjective(english, english, comparative or f"more {english}", cells[1], cells[2], cells[3])


def _read_person(cells: list[str]) -> Person:
    agreement, gender = cells[3].split()
    pronoun = "pronoun" in cells[4].split()
    english, spanish, chinese = cells[:3]
    return Person(english, english, spanish, chinese, _AGREEMENTS[agreement], _PERSON_GENDERS[gender], pronoun)


def _read_role(cells: list[str]) -> Role:
    masculine, feminine = cells[1].split("/")
    return Role(cells[0], cells[0], masculine, feminine, cells[2])


def _read_action(cells: list[str]) -> Action:
    key, _, english = cells[0].rpartition(" = ")
    stative = english.startswith("be ")
    return Action(key or english, english, cells[1], cells[2], stative)


def _read_text(cells: list[str]) -> Text:
    english, spanish, chinese = cells[:3]
    return Text(english, english, spanish, chinese)


def read_agreement(text: str) -> PersonNumber:
    """Return the person and number that a template names in place of a slot; none is the impersonal third person."""
    return _AGREEMENTS[text or "3s"]


def _read_numbers(category: str) -> Iterator[Numeral]:
    first, last, step = re.fullmatch(r"(\d+)\.\.(\d+)(?:/(\d+))?", category).groups("1")  # type: ignore[union-attr]  # ours
    for value in range(int(first), int(last) + 1, int(step)):
        yield Numeral(str(value), value)


def _list_clocks() -> Iterator[Clock]:
    for hour in range(1, 13):
        for minute in (0, 10, 15, 20, 30, 45):
            yield Clock(f"{hour}:{minute:02}", hour, minute)


def _list_day_clocks() -> Iterator[Clock]:
    for minute in (0, 30):
        for hour in (6, 7, 8, 9, 10):
            yield Clock(f"{hour}:{minute:02} morning", hour, minute, "morning")
        for hour in (1, 2, 3, 4, 5):
            yield Clock(f"{hour}:{minute:02} afternoon", hour, minute, "afternoon")
        for hour in (8, 9, 10):
            yield Clock(f"{hour}:{minute:02} evening", hour, minute, "evening")


def _pluralise_english(singular: str) -> str:
    head, of, rest = singular.partition(" of ")
    if head.endswith(("s", "x", "ch", "sh")):
        head += "es"
    elif head.endswith("y") and head[-2] not in "aeiou":
        head = head[:-1] + "ies"
    else:
        head += "s"
    return head + of + rest


def _pluralise_spanish(singular: str) -> str:
    head, of, rest = singular.partition(" de ")
    return " ".join(pluralise_spanish_word(word) for word in head.split(" ")) + of + rest


def pluralise_spanish_word(word: str) -> str:
    """Return the regular plural of a Spanish noun or adjective (luz: luces, estación: estaciones, reloj: relojes)."""
    if word.endswith(("a", "e", "i", "o", "u", "á", "é", "ó")):
        return word + "s"
    if word.endswith("z"):
        return word[:-1] + "ces"
    # The stress stays where it is, so the accent of a stressed last syllable before n or s goes.
    unaccented = str.maketrans("áéíóú", "aeiou")
    return word[:-2] + word[-2:].translate(unaccented) + "es" if word[-1] in "ns" else word + "es"
