"""What fills a slot of a template: one frozen value a meaning, with what each language needs to inflect it."""

from dataclasses import dataclass
from typing import Literal

Gender = Literal["m", "f"]
Counting = Literal["count", "mass", "pair", "both"]
"""How a noun is counted: one by one, not at all (coffee), in pairs because it has no singular (shoes), or one by one
but spoken of in general in the singular (two pizzas; I like pizza)."""

PersonNumber = Literal["1s", "2s", "3s", "1p", "3p"]
"""Person and number of a Spanish verb form. Usted is 3s and ustedes is 3p."""


@dataclass(frozen=True, slots=True)
class Text:
    """A word or phrase that never changes its form: cities, languages, times, fixed adverbials."""

    key: str
    english: str
    spanish: str
    chinese: str


@dataclass(frozen=True, slots=True)
class Noun:
    """A thing that takes articles, numbers and adjectives.

    Attributes:
        key: its name among all entries.
        counting: how it is counted; what comes in pairs carries its plural in the singular fields.
        english: singular.
        english_plural: plural; the same as the singular of what is not counted or comes in pairs.
        spanish: singular without article.
        spanish_plural: plural, likewise.
        gender: of the Spanish noun.
        stressed_a: a feminine noun that takes el and un in the singular (el agua).
        chinese: without measure word; empty when the measure word says all (天, 块).
        measure: the measure word.
    """

    key: str
    counting: Counting
    english: str
    english_plural: str
    spanish: str
    spanish_plural: str
    gender: Gender
    stressed_a: bool
    chinese: str
    measure: str


@dataclass(frozen=True, slots=True)
class Adjective:
    """A property of a thing.

    Attributes:
        key: its name among all entries.
        english: positive.
        english_comparative: cheaper, more expensive.
        spanish: masculine singular.
        chinese: as it stands before a noun (便宜的, 红色的).
        chinese_predicate: as it stands after 很 or 太 (便宜).
    """

    key: str
    english: str
    english_comparative: str
    spanish: str
    chinese: str
    chinese_predicate: str


@dataclass(frozen=True, slots=True)
class Role:
    """What somebody is by profession; Spanish follows the person's gender."""

    key: str
    english: str
    spanish_masculine: str
    spanish_feminine: str
    chinese: str


@dataclass(frozen=True, slots=True)
class Person:
    """Who does something.

    Attributes:
        key: its name among all entries.
        english: as a subject.
        spanish: as a subject that is said, also after a preposition (my mother: mi madre).
        chinese: the same everywhere.
        agreement: person and number of the Spanish verb; English follows from it.
        gender: of Spanish adjectives.
        pronoun: whether it is a pronoun.
    """

    key: str
    english: str
    spanish: str
    chinese: str
    agreement: PersonNumber
    gender: Gender
    pronoun: bool


@dataclass(frozen=True, slots=True)
class Action:
    """A verb with what belongs to it: read a book / leer un libro / 看书, or be tired / estar cansad@ / 很累.

    Attributes:
        key: its name among all entries.
        english: base form first (read a book).
        spanish: infinitive first, reflexive when it ends in -se; `@` stands for the ending o, a, os or as,
            `e@` for e or es.
        chinese: as it is said of somebody.
        stative: it has no progressive form.
    """

    key: str
    english: str
    spanish: str
    chinese: str
    stative: bool


@dataclass(frozen=True, slots=True)
class Numeral:
    """A whole number from 0 to 9,999."""

    key: str
    value: int


@dataclass(frozen=True, slots=True)
class Clock:
    """A time on the twelve-hour clock.

    Attributes:
        key: its name among all entries.
        hour: 1 to 12.
        minute: 0 to 59.
        part: the part of the day where it is said.
    """

    key: str
    hour: int
    minute: int
    part: Literal["", "morning", "afternoon", "evening"] = ""


Entry = Text | Noun | Adjective | Role | Person | Action | Numeral | Clock
