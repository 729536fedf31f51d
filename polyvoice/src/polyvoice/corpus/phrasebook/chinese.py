"""How fillers are said in Chinese.

Forms of a noun: plain, `one`, `this`, each with the slot of an adjective as argument if wanted; `count:n` with the slot
of a number; `how_many`; `measure` (the measure word alone).
Forms of an adjective: plain (before a noun), `predicate`.
Forms of a number: plain, `counted` (两), `ordinal`, `digits`.
Forms of an action: plain, `past`, `progressive`, `not`, `did_not`, `ask` (as it stands before 吗).
Forms of a person: plain, `possessive`, `kin` (of 我妈妈: 妈妈).
"""

from polyvoice.corpus.phrasebook.entries import Action, Adjective, Clock, Noun, Numeral, Person, Role, Text
from polyvoice.corpus.phrasebook.numerals import say_chinese, spell_chinese
from polyvoice.corpus.phrasebook.templates import Fillers, Reference, unknown_form

_PARTS = {"": "", "morning": "早上", "afternoon": "下午", "evening": "晚上"}


def inflect(reference: Reference, fillers: Fillers) -> str:
    """Return the text of one reference.

    Raises:
        InputError: the filler has no such form.
    """
    entry = fillers[reference.slot]
    match entry, reference.form:
        case ((Text() | Action() | Adjective() | Role() | Person()), ""):
            return entry.chinese
        case Noun(), _:
            return _inflect_noun(entry, reference, fillers)
        case Action(), _:
            return _inflect_action(entry, reference)
        case Adjective(), "predicate":
            return entry.chinese_predicate
        case Person(), "possessive":
            return entry.chinese + "的"
        case Person(), "kin":
            return entry.chinese.removeprefix("我").removeprefix("的")
        case Numeral(), ("" | "counted"):
            return say_chinese(entry.value, counted=reference.form == "counted")
        case Numeral(), "ordinal":
            return "第" + say_chinese(entry.value)
        case Numeral(), "digits":
            return spell_chinese(entry.value)
        case Clock(), "":
            return _say_clock(entry)
    raise unknown_form(reference, entry)


def tidy(text: str) -> str:
    """Return the sentence; Chinese needs no tidying."""
    return text.strip()


def _inflect_noun(noun: Noun, reference: Reference, fillers: Fillers) -> str:
    filler = fillers[reference.argument] if reference.argument else None
    adjective = filler.chinese if isinstance(filler, Adjective) else ""
    match reference.form:
        case "":
            return adjective + noun.chinese
        case "one":
            return f"一{noun.measure}{adjective}{noun.chinese}"
        case "this":
            return f"这{noun.measure}{adjective}{noun.chinese}"
        case "count" if isinstance(filler, Numeral):
            return f"{say_chinese(filler.value, counted=True)}{noun.measure}{noun.chinese}"
        case "how_many":
            return f"几{noun.measure}{noun.chinese}"
        case "measure":
            return noun.measure
    raise unknown_form(reference, noun)


def _inflect_action(action: Action, reference: Reference) -> str:
    said = action.chinese
    described = said.startswith("很")
    bare = said.removeprefix("很")
    match reference.form:
        case "past":
            return said if action.stative and said[0] in "很是" else said + "了"
        case "progressive":
            return said if action.stative else "在" + said
        case "not":
            return "没有" if said == "有" else "不" + bare
        case "did_not":
            return "不" + bare if described else "没" + bare
        case "ask":
            return bare
    raise unknown_form(reference, action)


def _say_clock(clock: Clock) -> str:
    text = f"{_PARTS[clock.part]}{say_chinese(clock.hour, counted=True)}点"
    match clock.minute:
        case 0:
            return text
        case 15:
            return text + "一刻"
        case 30:
            return text + "半"
        case 45:
            return text + "三刻"
        case minute:
            return f"{text}{say_chinese(minute)}分"
