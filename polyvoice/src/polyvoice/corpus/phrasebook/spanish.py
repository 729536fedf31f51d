"""How fillers are said in Spanish.

Forms of a noun: plain, `un`, `el`, `este`, `mi`, `plural`, `generic` (las manzanas, el café), `some` (manzanas,
café), `estos` (plural), each with the slot of an adjective as argument if wanted; `count:n` with the slot of a number;
`number:es/son` chosen by the noun's own number, `generic_number:gusta/gustan` by that of the generic form; `ending` (o,
a, os, as), `plural_ending` (os, as).
Forms of an adjective and of a role: plain, `agree:x` with a noun or a person (masculine singular
if no slot is called so); of an adjective also `feminine`.
Forms of an action: `infinitive`, `present`, `past`, `imperfect`, `progressive`, `future`, `state` (of estar cansado:
cansado), each with a person's slot or a person and number (1s) as argument.
Forms of a person: plain (left out where the verb says it), `verb:querer`, `past:ir`, `dative` (a mi madre le),
`no_dative`, `ending`, `number:libre/libres`, `este`, `kin` (of mi madre: madre).
Forms of a number: plain, `before:f` a noun, `ordinal:f`, `day` of a month, `digits`.
Forms of a clock: plain (las tres), `is` (son las tres).
"""

import re

from polyvoice.corpus.phrasebook.entries import (
    Action,
    Adjective,
    Clock,
    Gender,
    Noun,
    Numeral,
    Person,
    PersonNumber,
    Role,
    Text,
)
from polyvoice.corpus.phrasebook.lexicon import pluralise_spanish_word, read_agreement
from polyvoice.corpus.phrasebook.numerals import say_spanish, say_spanish_ordinal, spell_spanish
from polyvoice.corpus.phrasebook.spanish_verbs import (
    conjugate_future,
    conjugate_imperfect,
    conjugate_present,
    conjugate_preterite,
    conjugate_progressive,
    give_infinitive,
)
from polyvoice.corpus.phrasebook.templates import Fillers, Reference, unknown_form

_DETERMINERS: dict[str, tuple[str, str, str, str]] = {
    "un": ("un", "una", "unos", "unas"),
    "el": ("el", "la", "los", "las"),
    "este": ("este", "esta", "estos", "estas"),
    "mi": ("mi", "mi", "mis", "mis"),
}
"""Masculine and feminine singular, masculine and feminine plural."""

_CONJUGATIONS = {
    "infinitive": give_infinitive,
    "present": conjugate_present,
    "past": conjugate_preterite,
    "progressive": conjugate_progressive,
    "future": conjugate_future,
    "imperfect": conjugate_imperfect,
}
_DATIVES: dict[PersonNumber, str] = {"1s": "me", "2s": "te", "3s": "le", "1p": "nos", "3p": "les"}
_PARTS = {"": "", "morning": " de la mañana", "afternoon": " de la tarde", "evening": " de la noche"}


def inflect(reference: Reference, fillers: Fillers) -> str:
    """Return the text of one reference.

    Raises:
        InputError: the filler has no such form.
    """
    entry = fillers[reference.slot]
    form, argument = reference.form, reference.argument
    match entry, form:
        case ((Text() | Adjective()), ""):
            return entry.spanish
        case Noun(), _:
            return _inflect_noun(entry, reference, fillers)
        case Person(), _:
            return _inflect_person(entry, reference)
        case ((Adjective() | Role()), ("agree" | "agree_plural")):
            return _agree(entry, fillers.get(argument))
        case Action(), _ if form == "state" or form in _CONJUGATIONS:
            return _inflect_action(entry, reference, fillers)
        case Adjective(), "feminine":
            return inflect_adjective(entry.spanish, "f", plural=False)
        case Numeral(), "":
            return say_spanish(entry.value)
        case Numeral(), "before":
            return say_spanish(entry.value, "f" if argument == "f" else "m")
        case Numeral(), "ordinal":
            return say_spanish_ordinal(entry.value, "f" if argument == "f" else "m")
        case Numeral(), "day":
            return "primero" if entry.value == 1 else say_spanish(entry.value)
        case Numeral(), "digits":
            return spell_spanish(entry.value)
        case Clock(), ("" | "is"):
            verb = ("es " if _hour_said(entry) == 1 else "son ") if form == "is" else ""
            return verb + _say_clock(entry)
    raise unknown_form(reference, entry)


def tidy(text: str) -> str:
    """Return the sentence contracted (del, al, e inglés), with single spaces and a capital first letter."""
    text = re.sub(r" +", " ", text).strip()
    text = re.sub(r"(?<=[¿¡]) ", "", text)
    text = re.sub(r"\b([Dd])e el\b", r"\1el", text)
    text = re.sub(r"\b([Aa]) el\b", r"\1l", text)
    text = re.sub(r"\by (?=h?i(?!e))", "e ", text)
    text = re.sub(r"\bo (?=h?o)", "u ", text)
    first = next(index for index, letter in enumerate(text) if letter.isalpha())
    return text[:first] + text[first].upper() + text[first + 1 :]


def inflect_adjective(adjective: str, gender: Gender, *, plural: bool) -> str:
    """Return the adjective, given as masculine singular, in one gender and number."""
    if gender == "f" and adjective.endswith("o"):
        adjective = adjective[:-1] + "a"
    return pluralise_spanish_word(adjective) if plural else adjective


def _inflect_noun(noun: Noun, reference: Reference, fillers: Fillers) -> str:
    form, argument = reference.form, reference.argument
    pair = noun.counting == "pair"
    generic_plural = noun.counting in ("count", "pair")
    match form:
        case "number" | "generic_number":
            one, many = argument.split("/")
            return many if pair or (form == "generic_number" and generic_plural) else one
        case "ending":
            return _ending(noun.gender, plural=pair)
        case "plural_ending":
            return _ending(noun.gender, plural=True)
        case "count":
            return _count(noun, fillers[argument])
    adjective = fillers[argument] if argument else None
    if form in _DETERMINERS:
        return _determine(noun, form, adjective, plural=pair)
    match form:
        case "":
            return _describe(noun, adjective, plural=pair)
        case "plural":
            return _describe(noun, adjective, plural=True)
        case "some":
            return _describe(noun, adjective, plural=generic_plural)
        case "estos":
            return _determine(noun, "este", adjective, plural=True)
        case "generic":
            return _determine(noun, "el", adjective, plural=generic_plural)
    raise unknown_form(reference, noun)


def _describe(noun: Noun, adjective: object, *, plural: bool) -> str:
    said = noun.spanish_plural if plural else noun.spanish
    if isinstance(adjective, Adjective):
        said += " " + inflect_adjective(adjective.spanish, noun.gender, plural=plural)
    return said


def _determine(noun: Noun, determiner: str, adjective: object, *, plural: bool) -> str:
    takes_masculine = noun.stressed_a and not plural and determiner in ("un", "el")
    article = _choose(_DETERMINERS[determiner], "m" if takes_masculine else noun.gender, plural=plural)
    return f"{article} {_describe(noun, adjective, plural=plural)}"


def _count(noun: Noun, number: object) -> str:
    assert isinstance(number, Numeral)  # noqa: S101  # a template that counts with something else is ours to mend
    if noun.counting == "pair":
        return f"{say_spanish(number.value, 'm')} {'par' if number.value == 1 else 'pares'} de {noun.spanish}"
    return f"{say_spanish(number.value, noun.gender)} {noun.spanish if number.value == 1 else noun.spanish_plural}"


def _agree(entry: Adjective | Role, noun: object) -> str:
    # Without a slot to agree with it is you or I who speaks: masculine singular.
    gender: Gender = "m"
    plural = False
    if isinstance(noun, Noun | Person):
        gender, plural = noun.gender, _is_plural(noun)
    if isinstance(entry, Role):
        said = entry.spanish_feminine if gender == "f" else entry.spanish_masculine
        return pluralise_spanish_word(said) if plural else said
    return inflect_adjective(entry.spanish, gender, plural=plural)


def _is_plural(entry: Noun | Person) -> bool:
    return entry.counting == "pair" if isinstance(entry, Noun) else entry.agreement in ("1p", "3p")


def _inflect_person(person: Person, reference: Reference) -> str:
    form, argument, agreement = reference.form, reference.argument, person.agreement
    dropped = agreement in ("1s", "2s", "1p")
    match form:
        case "":
            return "" if dropped else person.spanish
        case "verb":
            return conjugate_present(argument, agreement)
        case "past":
            return conjugate_preterite(argument, agreement)
        case "dative" | "no_dative":
            pronoun = ("no " if form == "no_dative" else "") + _DATIVES[agreement]
            return pronoun if dropped else f"a {person.spanish} {pronoun}"
        case "number":
            return argument.split("/")[_is_plural(person)]
        case "este":
            return _choose(_DETERMINERS["este"], person.gender, plural=_is_plural(person))
        case "kin":
            return person.spanish.removeprefix("mi ")
        case "ending":
            return _ending(person.gender, plural=_is_plural(person))
    raise unknown_form(reference, person)


def _inflect_action(action: Action, reference: Reference, fillers: Fillers) -> str:
    person = fillers.get(reference.argument)
    if isinstance(person, Person):
        agreement, ending = person.agreement, _ending(person.gender, plural=_is_plural(person))
    else:
        agreement, ending = read_agreement(reference.argument), "o"
    # @ is o, a, os or as; e@ is e or es (triste).
    said = action.spanish.replace("e@", "es" if ending.endswith("s") else "e").replace("@", ending)
    if reference.form == "state":
        return said.partition(" ")[2]
    form = "present" if action.stative and reference.form == "progressive" else reference.form
    return _CONJUGATIONS[form](said, agreement)


def _choose(forms: tuple[str, str, str, str], gender: Gender, *, plural: bool) -> str:
    return forms[2 * plural + (gender == "f")]


def _ending(gender: Gender, *, plural: bool) -> str:
    return _choose(("o", "a", "os", "as"), gender, plural=plural)


def _hour_said(clock: Clock) -> int:
    return clock.hour % 12 + 1 if clock.minute > 30 else clock.hour


def _say_clock(clock: Clock) -> str:
    hour = _hour_said(clock)
    text = "la una" if hour == 1 else f"las {say_spanish(hour)}"
    match clock.minute:
        case 0:
            pass
        case 15:
            text += " y cuarto"
        case 30:
            text += " y media"
        case 45:
            text += " menos cuarto"
        case minute:
            text += f" y {say_spanish(minute)}"
    return text + _PARTS[clock.part]
