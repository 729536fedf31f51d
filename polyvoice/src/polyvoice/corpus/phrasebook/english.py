"""How fillers are said in English.

Forms of a noun: plain, `a`, `the`, `this`, `my`, `some`, `plural`, `these` (plural), `generic` (apples, coffee), each
with the slot of an adjective as argument if wanted; `a_more:q` compares (a bigger shirt); `count:n` with the slot of a
number; `number:is/are` chosen by the noun's own number.
Forms of an adjective: plain, `comparative`. Form of a role: `a`.
Forms of an action: plain, `state` (of be tired: tired), and with a person's slot or a person and number (1s) as
argument `present`, `past`, `progressive`, `not`, `did_not`.
Forms of a person: plain, `be`, `possessive`, `pronoun`, `this`, `kin` (of my mother: mother), `verb:want`, `not:want`,
`past:go`.
Forms of a number: plain, `ordinal`, `digits`, `number:is/are`.
"""

import re
from collections.abc import Callable
from functools import cache

from polyvoice.corpus.phrasebook.entries import (
    Action,
    Adjective,
    Clock,
    Noun,
    Numeral,
    Person,
    PersonNumber,
    Role,
    Text,
)
from polyvoice.corpus.phrasebook.lexicon import read_agreement, read_table
from polyvoice.corpus.phrasebook.numerals import say_english, say_english_ordinal, spell_english
from polyvoice.corpus.phrasebook.templates import Fillers, Reference, unknown_form

_POSSESSIVES = {"I": "my", "you": "your", "he": "his", "we": "our", "they": "their"}
_BE: dict[PersonNumber, tuple[str, str]] = {
    "1s": ("am", "was"),
    "2s": ("are", "were"),
    "3s": ("is", "was"),
    "1p": ("are", "were"),
    "3p": ("are", "were"),
}
_PARTS = {"": "", "morning": " in the morning", "afternoon": " in the afternoon", "evening": " in the evening"}
_CONTRACTIBLE = re.compile(r"\b(I|[Yy]ou|[Hh]e|[Ii]t|[Ww]e|[Tt]hey) (?:a|i(?=s))(m|re|s)\b")
_AN = re.compile(r"(?!uni|use|eu|one)[aeiou]|hour|honest", re.IGNORECASE)


def inflect(reference: Reference, fillers: Fillers) -> str:
    """Return the text of one reference.

    Raises:
        InputError: the filler has no such form.
    """
    entry = fillers[reference.slot]
    form, argument = reference.form, reference.argument
    match entry, form:
        case ((Text() | Action() | Adjective() | Person()), ""):
            return entry.english
        case Noun(), _:
            return _inflect_noun(entry, reference, fillers)
        case Adjective(), "comparative":
            return entry.english_comparative
        case Role(), "a":
            return with_article(entry.english)
        case Action(), "state":
            return entry.english.removeprefix("be ")
        case Action(), _:
            return _inflect_action(entry, reference, _agreement(argument, fillers))
        case Person(), _:
            return _inflect_person(entry, reference)
        case Numeral(), "":
            return say_english(entry.value)
        case Numeral(), "number":
            return argument.split("/")[entry.value != 1]
        case Numeral(), "ordinal":
            return say_english_ordinal(entry.value)
        case Numeral(), "digits":
            return spell_english(entry.value)
        case Clock(), "":
            return _say_clock(entry)
    raise unknown_form(reference, entry)


def tidy(text: str) -> str:
    """Return the sentence contracted as it is spoken (I'm, it's), with single spaces and a capital first letter."""
    text = re.sub(r" +", " ", text).strip()
    text = _CONTRACTIBLE.sub(r"\1'\2", text)
    return text[0].upper() + text[1:]


def with_article(phrase: str) -> str:
    """Return the phrase after a or an, by how its first word sounds."""
    return ("an " if _AN.match(phrase) else "a ") + phrase


def give_third_person(verb: str) -> str:
    """Return the third person singular of the present tense (be: is, go: goes, study: studies)."""
    if verb in ("be", "have", "do", "go"):
        return {"be": "is", "have": "has", "do": "does", "go": "goes"}[verb]
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ies"
    return verb + ("es" if verb.endswith(("s", "x", "ch", "sh")) else "s")


def give_past(verb: str) -> str:
    """Return the past tense of a verb other than be."""
    if verb in _irregular_verbs():
        return _irregular_verbs()[verb][0]
    return verb + ("d" if verb.endswith("e") else "ed")


def give_participle(verb: str) -> str:
    """Return the present participle (swim: swimming)."""
    irregular = _irregular_verbs().get(verb)
    return irregular[1] if irregular and irregular[1] else verb + "ing"


@cache
def _irregular_verbs() -> dict[str, tuple[str, str]]:
    return {cells[0]: (cells[1], cells[2] if len(cells) > 2 else "") for _, cells in read_table("english_verbs.txt")}


def _inflect_noun(noun: Noun, reference: Reference, fillers: Fillers) -> str:
    form, argument = reference.form, reference.argument
    generic_single = noun.counting in ("mass", "both")
    if form == "number":
        return argument.split("/")[noun.counting == "pair"]
    if form == "count":
        return _count(noun, fillers[argument])
    adjective = fillers[argument] if argument else None
    described = ""
    if isinstance(adjective, Adjective):
        described = (adjective.english_comparative if form == "a_more" else adjective.english) + " "
    single, many = described + noun.english, described + noun.english_plural
    pair = noun.counting == "pair"
    match form:
        case "":
            return single
        case "a" if pair:
            return f"a pair of {many}"
        case "a" | "a_more":
            return with_article(f"{described}pair of {noun.english}" if pair else single)
        case "the" | "my":
            return f"{form} {single}"
        case "this":
            return f"these {many}" if pair else f"this {single}"
        case "these":
            return f"these {many}"
        case "plural":
            return many
        case "generic":
            return single if generic_single else many
        case "some":
            return f"some {single if generic_single else many}"
    raise unknown_form(reference, noun)


def _count(noun: Noun, number: object) -> str:
    assert isinstance(number, Numeral)  # noqa: S101  # a template that counts with something else is ours to mend
    word = say_english(number.value)
    if noun.counting == "pair":
        return f"{word} {'pair' if number.value == 1 else 'pairs'} of {noun.english}"
    return f"{word} {noun.english if number.value == 1 else noun.english_plural}"


def _inflect_person(person: Person, reference: Reference) -> str:
    agreement, verb = person.agreement, reference.argument
    match reference.form:
        case "be":
            return _BE[agreement][0]
        case "possessive":
            return _POSSESSIVES.get(person.key) or person.english + ("'" if agreement == "3p" else "'s")
        case "pronoun" if not person.pronoun:
            return "they" if agreement == "3p" else "she" if person.gender == "f" else "he"
        case "pronoun":
            return person.english
        case "this":
            return "these" if agreement == "3p" else "this"
        case "kin":
            return person.english.removeprefix("my ")
        case "verb":
            return give_third_person(verb) if agreement == "3s" else verb
        case "not":
            return f"{'does' if agreement == '3s' else 'do'}n't {verb}"
        case "past":
            return _BE[agreement][1] if verb == "be" else give_past(verb)
    raise unknown_form(reference, person)


def _inflect_action(action: Action, reference: Reference, agreement: PersonNumber) -> str:
    be, was = _BE[agreement]
    is_be = action.english.startswith("be ")
    rest = action.english.removeprefix("be ")
    does = "does" if agreement == "3s" else "do"
    match reference.form:
        case "present" | "progressive" if is_be:
            return f"{be} {rest}"
        case "present":
            return _map_verb(action.english, give_third_person) if agreement == "3s" else action.english
        case "progressive":
            return f"{be} {_map_verb(action.english, give_participle)}"
        case "past":
            return f"{was} {rest}" if is_be else _map_verb(action.english, give_past)
        case "not":
            return f"{be} not {rest}" if is_be else f"{does}n't {action.english}"
        case "did_not":
            return f"{was}n't {rest}" if is_be else f"didn't {action.english}"
    raise unknown_form(reference, action)


def _map_verb(phrase: str, change: Callable[[str], str]) -> str:
    verb, space, rest = phrase.partition(" ")
    return change(verb) + space + rest


def _agreement(argument: str, fillers: Fillers) -> PersonNumber:
    person = fillers.get(argument)
    return person.agreement if isinstance(person, Person) else read_agreement(argument)


def _say_clock(clock: Clock) -> str:
    hour, following = say_english(clock.hour), say_english(clock.hour % 12 + 1)
    match clock.minute:
        case 0 if clock.part:
            text = hour
        case 0:
            text = f"{hour} o'clock"
        case 15:
            text = f"a quarter past {hour}"
        case 30:
            text = f"half past {hour}"
        case 45:
            text = f"a quarter to {following}"
        case minute:
            text = f"{say_english(minute)} past {hour}"
    return text + _PARTS[clock.part]
