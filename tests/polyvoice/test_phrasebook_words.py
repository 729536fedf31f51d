"""Numbers, verbs and agreement: what single words become before they stand in a sentence."""

import pytest

from polyvoice.corpus.phrasebook import chinese, english, spanish
from polyvoice.corpus.phrasebook.entries import Clock, Noun, Numeral
from polyvoice.corpus.phrasebook.lexicon import load_lexicon
from polyvoice.corpus.phrasebook.numerals import (
    say_chinese,
    say_english,
    say_english_ordinal,
    say_spanish,
    say_spanish_ordinal,
    spell_chinese,
    spell_english,
    spell_spanish,
)
from polyvoice.corpus.phrasebook.spanish_verbs import (
    conjugate_future,
    conjugate_imperfect,
    conjugate_present,
    conjugate_preterite,
    conjugate_progressive,
    give_infinitive,
)
from polyvoice.corpus.phrasebook.templates import Reference
from polyvoice.errors import InputError

NOUNS = [entry for entries in load_lexicon().by_tag.values() for entry in entries if isinstance(entry, Noun)]

# The ending says the gender of a Spanish noun but for these.
MASCULINE_IN_A = {"día", "mapa", "guía"}
FEMININE_IN_O = {"mano", "foto"}
FEMININE_OTHERWISE = {"postal", "clase", "llave", "carne", "leche", "sal", "noche", "reunión", "estación", "habitación"}
FEMININE_OTHERWISE |= FEMININE_IN_O | {"recepción", "universidad"}


@pytest.mark.parametrize(
    ("value", "en", "es", "zh"),
    [
        (0, "zero", "cero", "零"),
        (2, "two", "dos", "二"),
        (10, "ten", "diez", "十"),
        (12, "twelve", "doce", "十二"),
        (16, "sixteen", "dieciséis", "十六"),
        (21, "twenty-one", "veintiuno", "二十一"),
        (45, "forty-five", "cuarenta y cinco", "四十五"),
        (100, "one hundred", "cien", "一百"),
        (101, "one hundred and one", "ciento uno", "一百零一"),
        (110, "one hundred and ten", "ciento diez", "一百一十"),
        (222, "two hundred and twenty-two", "doscientos veintidós", "两百二十二"),
        (550, "five hundred and fifty", "quinientos cincuenta", "五百五十"),
        (1000, "one thousand", "mil", "一千"),
        (1005, "one thousand and five", "mil cinco", "一千零五"),
        (1350, "one thousand three hundred and fifty", "mil trescientos cincuenta", "一千三百五十"),
        (2010, "two thousand and ten", "dos mil diez", "两千零一十"),
    ],
)
def test_numbers(value: int, en: str, es: str, zh: str) -> None:
    assert (say_english(value), say_spanish(value), say_chinese(value)) == (en, es, zh)


@pytest.mark.parametrize("say", [say_english, say_spanish, say_chinese])
def test_no_two_numbers_sound_alike(say: object) -> None:
    assert callable(say)
    assert len({say(value) for value in range(10_000)}) == 10_000


def test_numbers_before_nouns() -> None:
    assert [say_spanish(value, "f") for value in (1, 21, 31, 200, 501)] == [
        "una",
        "veintiuna",
        "treinta y una",
        "doscientas",
        "quinientas una",
    ]
    assert [say_spanish(value, "m") for value in (1, 21, 31, 200)] == ["un", "veintiún", "treinta y un", "doscientos"]
    assert [say_chinese(value, counted=True) for value in (2, 12, 20, 22)] == ["两", "十二", "二十", "二十二"]
    assert [say_english_ordinal(value) for value in (1, 2, 3, 5, 9, 12, 20, 21, 30)] == (
        ["first", "second", "third", "fifth", "ninth", "twelfth", "twentieth", "twenty-first", "thirtieth"]
    )
    assert [say_spanish_ordinal(value, "f") for value in (1, 3, 7)] == ["primera", "tercera", "séptima"]
    assert (spell_english(305), spell_spanish(305), spell_chinese(305)) == (
        "three oh five",
        "tres cero cinco",
        "三零五",
    )


def test_conjugation() -> None:
    assert conjugate_present("levantarse", "1s") == "me levanto"
    assert conjugate_present("acostarse", "3p") == "se acuestan"
    assert conjugate_present("vivir", "1p") == "vivimos"
    assert conjugate_present("jugar al tenis", "2s") == "juegas al tenis"
    assert conjugate_preterite("leer un libro", "3s") == "leyó un libro"
    assert conjugate_preterite("tocar el piano", "1s") == "toqué el piano"
    assert conjugate_preterite("ir a casa", "1p") == "fuimos a casa"
    assert conjugate_imperfect("tener sed", "3p") == "tenían sed"
    assert conjugate_progressive("dormir", "3s") == "está durmiendo"
    assert conjugate_future("ducharse", "1p") == "vamos a ducharnos"
    assert give_infinitive("levantarse", "1s") == "levantarme"


def test_english_verbs() -> None:
    assert [english.give_third_person(verb) for verb in ("study", "play", "watch", "go", "have")] == (
        ["studies", "plays", "watches", "goes", "has"]
    )
    assert [english.give_past(verb) for verb in ("cook", "travel", "read", "arrive")] == (
        ["cooked", "traveled", "read", "arrived"]
    )
    assert [english.give_participle(verb) for verb in ("swim", "dance", "play")] == ["swimming", "dancing", "playing"]


def test_articles_of_all_spanish_nouns() -> None:
    for noun in NOUNS:
        head = noun.spanish.split(" ")[0]
        in_a = head.removesuffix("s").endswith("a") and head not in MASCULINE_IN_A | {"paraguas"}
        feminine = in_a or head in FEMININE_OTHERWISE
        assert (noun.gender == "f") == feminine, noun.spanish
        fillers = {"x": noun}
        articles = {
            form: spanish.inflect(Reference("x", form), fillers).split(" ")[0]
            for form in ("el", "un", "este", "generic")
        }
        singular_el = "el" if noun.stressed_a or not feminine else "la"
        if noun.counting == "pair":
            assert articles["el"] == ("las" if feminine else "los")
        else:
            assert articles["el"] == singular_el
            assert articles["este"] == ("esta" if feminine else "este")
        if noun.counting in ("count", "pair"):
            assert articles["generic"] == ("las" if feminine else "los")


def test_plurals() -> None:
    plurals = {noun.key: (noun.english_plural, noun.spanish_plural) for noun in NOUNS}
    assert plurals["train station"] == ("train stations", "estaciones de tren")
    assert plurals["cup of coffee"] == ("cups of coffee", "tazas de café")
    assert plurals["shopping center"] == ("shopping centers", "centros comerciales")
    assert plurals["embassy"] == ("embassies", "embajadas")
    assert plurals["watch"] == ("watches", "relojes")
    assert plurals["tooth"] == ("teeth", "muelas")
    assert plurals["month"] == ("months", "meses")
    assert plurals["umbrella"] == ("umbrellas", "paraguas")
    assert plurals["shoes"] == ("shoes", "zapatos")


@pytest.mark.parametrize(
    ("hour", "minute", "en", "es", "zh"),
    [
        (1, 0, "one o'clock", "la una", "一点"),
        (2, 15, "a quarter past two", "las dos y cuarto", "两点一刻"),
        (12, 30, "half past twelve", "las doce y media", "十二点半"),
        (12, 45, "a quarter to one", "la una menos cuarto", "十二点三刻"),
        (7, 20, "twenty past seven", "las siete y veinte", "七点二十分"),
    ],
)
def test_clock(hour: int, minute: int, en: str, es: str, zh: str) -> None:
    fillers = {"t": Clock("t", hour, minute)}
    said = tuple(language.inflect(Reference("t"), fillers) for language in (english, spanish, chinese))
    assert said == (en, es, zh)


def test_counted_nouns() -> None:
    nouns = {noun.key: noun for noun in NOUNS}
    reference = Reference("x", "count", "n")

    def count(key: str, value: int) -> tuple[str, str, str]:
        fillers = {"x": nouns[key], "n": Numeral(str(value), value)}
        en, es, zh = (language.inflect(reference, fillers) for language in (english, spanish, chinese))
        return en, es, zh

    assert count("book", 1) == ("one book", "un libro", "一本书")
    assert count("table", 21) == ("twenty-one tables", "veintiuna mesas", "二十一张桌子")
    assert count("pants", 2) == ("two pairs of pants", "dos pares de pantalones", "两条裤子")
    assert count("yuan", 2) == ("two yuan", "dos yuanes", "两块")
    assert count("glass of water", 2) == ("two glasses of water", "dos vasos de agua", "两杯水")


def test_categories() -> None:
    lexicon = load_lexicon()

    def keys(category: str) -> list[str]:
        return [entry.key for entry in lexicon.select(category)]

    assert keys("2..4+10..30/10") == ["2", "3", "4", "10", "20", "30"]
    assert keys("mealtime-lunch") == ["breakfast", "dinner"]
    assert keys("breakfast+swimming_pool") == ["breakfast", "swimming pool"]
    with pytest.raises(InputError, match="no tag or entry is called unicorn"):
        lexicon.select("clothes+unicorn")


def test_no_tag_is_called_like_an_entry() -> None:
    lexicon = load_lexicon()
    keys = {entry.key.replace(" ", "_") for entries in lexicon.by_tag.values() for entry in entries}
    assert not keys & set(lexicon.by_tag)
