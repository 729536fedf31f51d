"""Text to the phonemes that Kokoro was trained on: espeak-ng for alphabets, misaki for Chinese.

Kokoro writes a diphthong or an affricate as one letter (A for the vowel of "day") and keeps punctuation, from which it
takes its pauses and its melody. The letters are those of misaki, with which Kokoro-82M v1.0 was trained.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from polyvoice.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

ESPEAK_VOICES = {"en": "en-us", "es": "es", "fr": "fr-fr", "hi": "hi", "it": "it", "pt": "pt-br"}
"""What espeak-ng calls the languages that it reads for us."""

LANGUAGES = (*ESPEAK_VOICES, "zh")
"""The languages that can be spoken."""

# `--ipa=3` joins the parts of one sound by U+200D; the letters are those of misaki 0.9.4 (its espeak.py).
_JOINER = "\u200d"
_ONE_LETTER = {
    "a\u200dɪ": "I",
    "a\u200dʊ": "W",
    "d\u200dʒ": "ʤ",
    "e\u200dɪ": "A",
    "o\u200dʊ": "O",
    "t\u200ds": "ʦ",
    "t\u200dʃ": "ʧ",
    "ɔ\u200dɪ": "Y",
    "ə\u200dl": "ᵊl",
}
# espeak's American English beside Kokoro's, which has no long vowels, and whose flap is a letter of its own.
_AMERICAN = {"ɚ": "əɹ", "ɐ": "ə", "ɜːɹ": "ɜɹ", "ɜː": "ɜɹ", "ɪə": "iə", "r": "ɹ", "x": "k", "ɾ": "T", "ʔ": "t", "ː": ""}
# A dot or comma inside a number is no punctuation, nor is the dot of a title.
_TITLES = r"(?<!\bMr)(?<!\bMs)(?<!\bDr)(?<!\bSt)(?<!\bSr)(?<!\bMrs)(?<!\bSra)(?<!\bUd)(?<!\bUds)"
_PUNCTUATION = re.compile(rf"\s*([;:,!?…—]+|{_TITLES}\.+)(?=\s|$)\s*")
_UNSPOKEN = re.compile(r"[¿¡\"“”«»()\[\]]")
_LATIN = re.compile(r"[A-Za-z][A-Za-z' -]*")


def check_phonemizer(language: str) -> None:
    """Ask for what `Phonemizer` needs, without loading it.

    Raises:
        InputError: The language cannot be spoken, or a program or package is missing; the message says which.
    """
    from importlib.util import find_spec

    if language not in LANGUAGES:
        raise InputError(f"language {language!r} cannot be spoken; {', '.join(LANGUAGES)} can")
    # Chinese texts hold Latin words too.
    if shutil.which("espeak-ng") is None:
        raise InputError("speaking needs espeak-ng: apt-get install espeak-ng")
    if language == "zh" and any(find_spec(name) is None for name in ("misaki", "cn2an", "jieba", "pypinyin")):
        raise InputError("speaking Chinese needs misaki: pip install 'polyvoice-s2st[corpus]'")


@dataclass(slots=True)
class Phonemizer:
    """Turns text of any of `LANGUAGES` into phonemes; what a language needs is loaded when it is first asked for."""

    _chinese: Callable[[str], tuple[str, object]] | None = field(default=None, init=False)

    def phonemize(self, text: str, language: str) -> str:
        """The phonemes of a text, a character each.

        Args:
            text: One utterance.
            language: One of `LANGUAGES`.

        Raises:
            InputError: The language cannot be spoken, the text holds nothing that can be, or espeak-ng fails.
        """
        check_phonemizer(language)
        text = _UNSPOKEN.sub("", text).strip()
        phonemes = self._phonemize_chinese(text) if language == "zh" else _phonemize_latin(text, language)
        if not any(character.isalpha() for character in phonemes):
            raise InputError(f"{text!r} holds nothing that can be spoken")
        return phonemes

    def _phonemize_chinese(self, text: str) -> str:
        if self._chinese is None:
            import logging

            import jieba
            from misaki.zh import ZHG2P

            jieba.setLogLevel(logging.WARNING)  # it reports on loading its dictionary
            self._chinese = ZHG2P()
        parts: list[str] = []
        at = 0
        # misaki leaves Latin words as they are, and Kokoro would take their letters for phonemes.
        for latin in _LATIN.finditer(text):
            parts += [self._chinese(text[at : latin.start()])[0], _phonemize_latin(latin.group(), "en")]
            at = latin.end()
        parts.append(self._chinese(text[at:])[0])
        return " ".join(part.strip() for part in parts if part.strip())


def _phonemize_latin(text: str, language: str) -> str:
    # espeak-ng drops punctuation, so what lies between is read by itself and the marks are put back.
    pieces = _PUNCTUATION.split(text)  # clause, marks, clause, marks, ..., clause
    phonemes = ""
    for number, piece in enumerate(pieces):
        if number % 2:
            phonemes += f"{piece} "
        elif piece:
            phonemes += _read_clause(piece, language)
    return phonemes.strip()


def _read_clause(clause: str, language: str) -> str:
    command = ["espeak-ng", "-q", "--ipa=3", "-v", ESPEAK_VOICES[language], "--", clause]
    # The text is one argument, not shell input.
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)  # noqa: S603
    if done.returncode:
        raise InputError(f"espeak-ng cannot read {clause!r}: {done.stderr.strip()}")
    ipa = " ".join(done.stdout.split())
    ipa = re.sub(r"\([a-z-]+\)", "", ipa)  # where espeak switches language it says so: (en)...(es)
    for joined, letter in _ONE_LETTER.items():
        ipa = ipa.replace(joined, letter)
    ipa = ipa.replace(_JOINER, "").replace("_", "").replace("-", "")
    if language == "en":
        for theirs, ours in _AMERICAN.items():
            ipa = ipa.replace(theirs, ours)
    return ipa
