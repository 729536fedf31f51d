"""Templates and words made into phrases: the same meaning in Chinese, English and Spanish."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product
from typing import Literal

from polyvoice.corpus.phrasebook import chinese, english, spanish
from polyvoice.corpus.phrasebook.entries import Entry
from polyvoice.corpus.phrasebook.lexicon import load_lexicon
from polyvoice.corpus.phrasebook.templates import Template, fill, load_templates
from polyvoice.errors import InputError

Split = Literal["train", "dev", "test"]

_UNSEEN_PAIRS = 0.01  # of all pairs of fillers; a sentence of three fillers has three chances
_DEV = 0.02
_TEST = 0.02


@dataclass(frozen=True, slots=True)
class Phrase:
    """One meaning, said in three languages.

    Attributes:
        key: 16 hexadecimal digits that depend on the meaning (template and fillers) alone.
        zh: in Chinese, simplified characters.
        en: in English.
        es: in Spanish.
        template: which template said it, "domain.name".
        fillers: the keys of what filled its slots, in the order of the slots.
        split: train, dev or test, decided by the meaning alone.
        unseen_pair: two of its fillers never stand together in a sentence of train.
    """

    key: str
    zh: str
    en: str
    es: str
    template: str
    fillers: tuple[str, ...]
    split: Split
    unseen_pair: bool


def list_fillers(template: Template) -> tuple[tuple[Entry, ...], ...]:
    """Return what each slot may be filled with.

    Raises:
        InputError: a category names what is not there.
    """
    try:
        return tuple(load_lexicon().select(category) for _, category in template.slots)
    except InputError as error:
        raise InputError(f"{template.where}: {error}") from error


def realise(template: Template, entries: tuple[Entry, ...]) -> Phrase:
    """Say a template with one filler a slot.

    Raises:
        InputError: a filler has not the form that the template asks for.
    """
    fillers = {name: entry for (name, _), entry in zip(template.slots, entries, strict=True)}
    en, es, zh = template.sentences
    try:
        texts = (
            chinese.tidy(fill(zh, fillers, chinese.inflect)),
            english.tidy(fill(en, fillers, english.inflect)),
            spanish.tidy(fill(es, fillers, spanish.inflect)),
        )
    except InputError as error:
        raise InputError(f"{template.where}: {error}") from error
    keys = tuple(entry.key for entry in entries)
    key = _digest(template.name, *keys)
    unseen_pair = any(_is_unseen(*sorted(pair)) for pair in combinations(keys, 2))
    return Phrase(key, *texts, template.name, keys, _choose_split(key, len(keys), unseen_pair), unseen_pair)


def all_phrases() -> Iterator[Phrase]:
    """Yield every phrase once, template by template.

    No sentence is said twice in any language, so no source sentence has two translations and none of test is in train.
    """
    for template in load_templates():
        for entries in product(*list_fillers(template)):
            if is_sensible(entries):
                yield realise(template, entries)


def count_phrases() -> dict[str, int]:
    """Return how many phrases each template gives."""
    return {
        template.name: sum(is_sensible(entries) for entries in product(*list_fillers(template)))
        for template in load_templates()
    }


def is_sensible(entries: tuple[Entry, ...]) -> bool:
    """Tell whether nothing is compared with itself or stands beside itself; numbers may be the same."""
    keys = [entry.key for entry in entries if not entry.key.isdigit()]
    return len(set(keys)) == len(keys)


@cache
def _is_unseen(first: str, second: str) -> bool:
    """Tell whether two fillers, in the order of their names, are kept out of every sentence of train."""
    return _share(first, second) < _UNSEEN_PAIRS


def _choose_split(key: str, slots: int, unseen_pair: bool) -> Split:
    if not slots:
        return "train"  # a fixed phrase shares its words with nothing else
    if unseen_pair:
        return "test"
    share = _share(key)
    if share < _DEV:
        return "dev"
    return "test" if share < _DEV + _TEST else "train"


def _digest(*parts: str) -> str:
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def _share(*parts: str) -> float:
    """Return a number in [0, 1) that depends on the parts alone."""
    return int(_digest("split", *parts), 16) / 16**16
