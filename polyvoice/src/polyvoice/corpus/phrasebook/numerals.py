"""Whole numbers as they are said: in words, never in digits, so that a voice cannot misread them."""

from polyvoice.corpus.phrasebook.entries import Gender


def _split(words: str) -> tuple[str, ...]:
    """Return words by their number; - stands where there is none."""
    return tuple(words.split())


_EN_ONES = _split(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_EN_TENS = _split("- - twenty thirty forty fifty sixty seventy eighty ninety")
_EN_IRREGULAR_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_ES_ONES = _split(
    "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciséis diecisiete "
    "dieciocho diecinueve veinte veintiuno veintidós veintitrés veinticuatro veinticinco veintiséis veintisiete "
    "veintiocho veintinueve"
)
_ES_TENS = _split("- - - treinta cuarenta cincuenta sesenta setenta ochenta noventa")
_ES_HUNDREDS = _split(
    "- ciento doscientos trescientos cuatrocientos quinientos seiscientos setecientos ochocientos novecientos"
)
_ES_ORDINALS = _split("- primer segundo tercer cuarto quinto sexto séptimo octavo noveno décimo")
_ZH_DIGITS = "零一二三四五六七八九"


def say_english(value: int) -> str:
    """Return 0 to 9,999 in English words: a hundred is "one hundred"."""
    if value < 20:
        return _EN_ONES[value]
    if value < 100:
        tens, ones = divmod(value, 10)
        return f"{_EN_TENS[tens]}-{_EN_ONES[ones]}" if ones else _EN_TENS[tens]
    size, name = (1000, "thousand") if value >= 1000 else (100, "hundred")
    many, rest = divmod(value, size)
    joint = " and " if rest < 100 else " "
    return f"{_EN_ONES[many]} {name}" + (joint + say_english(rest) if rest else "")


def say_english_ordinal(value: int) -> str:
    """Return the English ordinal: "first", "twenty-first"."""
    before, joint, last = say_english(value).rpartition("-")
    regular = last[:-1] + "ieth" if last.endswith("y") else last + "th"
    return before + joint + _EN_IRREGULAR_ORDINALS.get(last, regular)


def say_spanish(value: int, gender: Gender | None = None) -> str:
    """Return 0 to 9,999 in Spanish words.

    Args:
        value: the number.
        gender: of the noun that follows (un libro, una mesa, veintiún días); None when none follows (uno).
    """
    if value >= 1000:
        thousands, rest = divmod(value, 1000)
        many = "mil" if thousands == 1 else f"{_ES_ONES[thousands]} mil"
        return f"{many} {say_spanish(rest, gender)}" if rest else many
    if value == 100:
        return "cien"
    if value > 100:
        hundreds, rest = divmod(value, 100)
        many = _ES_HUNDREDS[hundreds]
        if gender == "f" and hundreds > 1:
            many = many[:-2] + "as"
        return f"{many} {say_spanish(rest, gender)}" if rest else many
    if value < 30:
        return _agree_one(_ES_ONES[value], gender)
    tens, ones = divmod(value, 10)
    return f"{_ES_TENS[tens]} y {_agree_one(_ES_ONES[ones], gender)}" if ones else _ES_TENS[tens]


def _agree_one(word: str, gender: Gender | None) -> str:
    if gender is None or not word.endswith("uno"):
        return word
    if gender == "f":
        return word[:-1] + "a"
    return "veintiún" if word == "veintiuno" else "un"


def say_spanish_ordinal(value: int, gender: Gender) -> str:
    """Return the ordinal of 1 to 10 as it stands before a noun: el primer piso, la primera calle."""
    word = _ES_ORDINALS[value]
    if gender == "m":
        return word
    return (word if word.endswith("o") else word + "o")[:-1] + "a"


def say_chinese(value: int, *, counted: bool = False) -> str:
    """Return 0 to 9,999 in Chinese.

    Args:
        value: the number.
        counted: a measure word follows, so that two is 两.
    """
    if value == 2 and counted:
        return "两"
    text, empty = "", False
    for size, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = value // size % 10
        if not digit:
            # A gap inside the number is said once as 零 (一百零五), one at its end is not said.
            empty = bool(text)
            continue
        said = "两" if digit == 2 and size >= 100 else _ZH_DIGITS[digit]
        if size == 10 and digit == 1 and not text:
            said = ""
        text += ("零" if empty else "") + said + name
        empty = False
    return text or "零"


def spell_english(value: int) -> str:
    """Return the digits one by one as a room or telephone number is said in English ("three oh five")."""
    return " ".join("oh" if digit == "0" else _EN_ONES[int(digit)] for digit in str(value))


def spell_spanish(value: int) -> str:
    """Return the digits one by one in Spanish ("tres cero cinco")."""
    return " ".join(_ES_ONES[int(digit)] for digit in str(value))


def spell_chinese(value: int) -> str:
    """Return the digits one by one in Chinese ("三零五")."""
    return "".join(_ZH_DIGITS[int(digit)] for digit in str(value))
