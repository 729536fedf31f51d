"""Text as it sounds: what is left to compare when capitals, punctuation and digits are out of the way.

A recogniser writes "Press 2." where the reference says "press two". Both go through `normalize_text`, version
`NORMALIZER`, before any score:

1. Unicode NFKC, lower case; typographic apostrophes become plain ones.
2. Words in brackets, such as [laughter], are dropped: they are not spoken.
3. Numbers become words: "1,234" one thousand two hundred and thirty-four, "3.5" three point five, "2nd" second, "50%"
   fifty percent; more than six digits, or digits after a leading zero, are read one by one. English
   and Spanish by num2words, Chinese by cn2an; in other languages digits stay digits.
4. Everything but letters, digits, marks and apostrophes inside words becomes a space, hyphens too; accents stay.
5. Runs of spaces become one space; Chinese, Japanese and Thai lose all of them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

NORMALIZER = "spoken-2"
"""Name and version of the rules; part of every scores.json."""

UNSPACED = frozenset({"zh", "yue", "ja", "th"})
"""Languages whose words are not set apart by spaces; they are scored by characters."""

_LONGEST_READ_AS_NUMBER = 6
_PERCENT = {"en": "percent", "es": "por ciento"}
_POINT = {"en": "point", "es": "punto"}


def _number_pattern(thousands: str, decimals: str) -> re.Pattern[str]:
    whole = rf"(?P<whole>\d{{1,3}}(?:{thousands}\d{{3}})+(?!\d)|\d+)"
    return re.compile(whole + rf"(?:{decimals}(?P<part>\d+))?(?P<end>(?:st|nd|rd|th)\b|%)?")


_NUMBERS = {"en": _number_pattern(",", r"\."), "zh": _number_pattern(",", r"\."), "es": _number_pattern(r"\.", ",")}


def language_family(language: str) -> str:
    """The first part of a language tag: `zh` of `zh-CN`."""
    return re.split(r"[-_]", language.lower())[0]


def normalize_text(text: str, language: str) -> str:
    """Bring a text into the form that is scored.

    Args:
        text: a reference or a transcript.
        language: its language tag, such as `en` or `zh-CN`.

    Returns:
        Words apart by one space, or characters without spaces in `UNSPACED` languages; may be empty.
    """
    family = language_family(language)
    text = unicodedata.normalize("NFKC", text).lower().replace("\u2019", "'").replace("\u02bc", "'")
    # Digits of other scripts are read as numbers too.
    text = "".join(str(unicodedata.decimal(character, character)) for character in text)
    text = re.sub(r"\[[^\]]*\]", " ", text)
    if family in _NUMBERS:
        text = _NUMBERS[family].sub(lambda found: f" {_read_number(found, family)} ", text)
    kept = "".join(character if character == "'" or _is_spoken(character) else " " for character in text)
    kept = re.sub(r"(?<!\w)'+|'+(?!\w)", " ", kept)
    # Composed once more: what stood between a letter and a mark may be gone.
    return unicodedata.normalize("NFKC", ("" if family in UNSPACED else " ").join(kept.split()))


def split_words(text: str, language: str) -> list[str]:
    """The steps that an error rate counts: words, or characters in languages written without spaces.

    Args:
        text: a text that `normalize_text` returned.
        language: its language tag.
    """
    return list(text) if language_family(language) in UNSPACED else text.split()


def _is_spoken(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNM"


def _read_number(found: re.Match[str], family: str) -> str:
    """A number as it is said; `found` is a match of the family's pattern."""
    whole, part, end = re.sub(r"\D", "", found["whole"]), found["part"], found["end"]
    if family == "zh":
        return _read_chinese(whole, part, percent=end == "%")
    if end in ("st", "nd", "rd", "th") and part is None and family == "en":
        return _num2words(whole, family, "ordinal")
    words = " ".join(_num2words(digits, family) for digits in _split_digits(whole))
    if part is not None:
        words += f" {_POINT[family]} " + " ".join(_num2words(digit, family) for digit in part)
    return f"{words} {_PERCENT[family] if end == '%' else end or ''}"


def _split_digits(digits: str) -> Sequence[str]:
    """What is read at once: the whole number, or single digits of what is rather a telephone number or a code."""
    one_by_one = len(digits) > _LONGEST_READ_AS_NUMBER or (len(digits) > 1 and digits[0] == "0")
    return digits if one_by_one else [digits]


def _num2words(digits: str, family: str, kind: str = "cardinal") -> str:
    from num2words import num2words

    return str(num2words(int(digits), lang=family, to=kind))


def _read_chinese(whole: str, part: str | None, *, percent: bool) -> str:
    import cn2an

    words = "".join(cn2an.an2cn(digits) for digits in _split_digits(whole))
    if part is not None:
        words += "点" + "".join(cn2an.an2cn(digit) for digit in part)
    return f"百分之{words}" if percent else words
