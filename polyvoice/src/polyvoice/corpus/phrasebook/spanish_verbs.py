"""Spanish conjugation: present, preterite and gerund, regular by rule and irregular by table."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from polyvoice.corpus.phrasebook.entries import PersonNumber
from polyvoice.corpus.phrasebook.lexicon import read_table

_PERSONS: tuple[PersonNumber, ...] = ("1s", "2s", "3s", "1p", "3p")
_PRESENT = {"ar": "o as a amos an", "er": "o es e emos en", "ir": "o es e imos en"}
_PRETERITE = {"ar": "é aste ó amos aron", "er": "í iste ió imos ieron", "ir": "í iste ió imos ieron"}
_IMPERFECT = {"ar": "aba abas aba ábamos aban", "er": "ía ías ía íamos ían", "ir": "ía ías ía íamos ían"}
_GERUND = {"ar": "ando", "er": "iendo", "ir": "iendo"}
_REFLEXIVE: dict[PersonNumber, str] = {"1s": "me", "2s": "te", "3s": "se", "1p": "nos", "3p": "se"}


@dataclass(frozen=True, slots=True)
class _Irregular:
    """Forms that the rules do not give; empty where they do."""

    present: tuple[str, ...]
    preterite: tuple[str, ...]
    gerund: str


def conjugate_present(phrase: str, person: PersonNumber) -> str:
    """Return a verb phrase in the present tense: ("levantarse temprano", "1s") gives "me levanto temprano"."""
    verb, rest, pronoun = _take_apart(phrase, person)
    forms = _irregular_verbs().get(verb)
    return pronoun + _pick(forms.present if forms else (), verb, _PRESENT, person) + rest


def conjugate_preterite(phrase: str, person: PersonNumber) -> str:
    """Return a verb phrase in the preterite ("leí un libro")."""
    verb, rest, pronoun = _take_apart(phrase, person)
    forms = _irregular_verbs().get(verb)
    return pronoun + _pick(forms.preterite if forms else (), verb, _PRETERITE, person) + rest


def conjugate_imperfect(phrase: str, person: PersonNumber) -> str:
    """Return a verb phrase in the imperfect ("estaba cansado"); ser, ir and ver are not regular in it."""
    verb, rest, pronoun = _take_apart(phrase, person)
    return pronoun + _pick((), verb, _IMPERFECT, person) + rest


def give_infinitive(phrase: str, person: PersonNumber) -> str:
    """Return the infinitive, its reflexive pronoun in the person of the subject ("levantarme")."""
    verb, rest, pronoun = _take_apart(phrase, person)
    return verb + pronoun.strip() + rest


def conjugate_progressive(phrase: str, person: PersonNumber) -> str:
    """Return estar with the gerund ("se está duchando")."""
    verb, rest, pronoun = _take_apart(phrase, person)
    forms = _irregular_verbs().get(verb)
    gerund = (forms.gerund if forms else "") or verb[:-2] + _GERUND[verb[-2:]]
    return f"{pronoun}{conjugate_present('estar', person)} {gerund}{rest}"


def conjugate_future(phrase: str, person: PersonNumber) -> str:
    """Return the future with ir a ("va a levantarse")."""
    return f"{conjugate_present('ir', person)} a {give_infinitive(phrase, person)}"


def _take_apart(phrase: str, person: PersonNumber) -> tuple[str, str, str]:
    verb, space, rest = phrase.partition(" ")
    if verb.endswith("se"):
        return verb.removesuffix("se"), space + rest, _REFLEXIVE[person] + " "
    return verb, space + rest, ""


def _pick(irregular: Sequence[str], verb: str, endings: dict[str, str], person: PersonNumber) -> str:
    index = _PERSONS.index(person)
    return irregular[index] if irregular else verb[:-2] + endings[verb[-2:]].split()[index]


@cache
def _irregular_verbs() -> dict[str, _Irregular]:
    def read(cell: str) -> tuple[str, ...]:
        return () if cell == "-" else tuple(cell.split())

    return {
        verb: _Irregular(read(present), read(preterite), gerund.removeprefix("-"))
        for _, (verb, present, preterite, gerund) in read_table("spanish_verbs.txt")
    }
