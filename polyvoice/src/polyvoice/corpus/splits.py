"""Which rows train and which test: fixed by hashes, so that every corpus and every run agree.

A sentence belongs to train, dev or test by the hash of its text, whatever its punctuation and case; a voice belongs
to train or test. Rows that are spoken for a corpus get a voice of their sentence's side (`speak.voices`), so nothing
leaks. Where both were fixed before, `join_splits` says what becomes of the row:

=========  ============  ==========
sentence   train voice   test voice
=========  ============  ==========
train      train         dropped
dev        dev           dropped
test       dropped       test
=========  ============  ==========

So a test row's sentence and voice are both new to the model, and a dev row's sentence is.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from polyvoice.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_NOT_SPOKEN = re.compile(r"[\W_]+")
UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
"""A letter of a script without spaces."""


@dataclass(frozen=True, slots=True)
class Shares:
    """How much of the sentences is held out.

    Attributes:
        dev: Part that is `dev`.
        test: Part that is `test`.

    Raises:
        InputError: A part is negative, or nothing is left for training.
    """

    dev: float = 0.01
    test: float = 0.01

    def __post_init__(self) -> None:
        if not (self.dev >= 0 and self.test >= 0 and self.dev + self.test < 1):
            raise InputError(f"{self.dev:g} for dev and {self.test:g} for test leave nothing to train on")


def hash_fraction(*parts: str) -> float:
    """A number in [0, 1) that is fixed by the parts; even and independent for different ones."""
    # The length in front keeps ("ab", "c") and ("a", "bc") apart.
    content = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big") / 2**64


def normalize_sentence(text: str) -> str:
    """The words of a sentence: without case, punctuation and spacing, which are not heard."""
    return _NOT_SPOKEN.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def count_words(text: str) -> int:
    """Words of a sentence; where a script has no spaces, two characters count as one."""
    unspaced = len(UNSPACED.findall(text))
    return len(normalize_sentence(UNSPACED.sub(" ", text)).split()) + ceil(unspaced / 2)


def join_texts(texts: Sequence[str]) -> str:
    """Texts of one language as one: with spaces between them, where its script has any."""
    return ("" if UNSPACED.search("".join(texts)) else " ").join(texts)


def split_sentence(text: str, shares: Shares = Shares()) -> str:
    """The split of a sentence: `train`, `dev` or `test`, by the hash of its words."""
    at = hash_fraction("sentence", normalize_sentence(text))
    if at < shares.test:
        return "test"
    return "dev" if at < shares.test + shares.dev else "train"


def describe_splits(splits: Iterable[str]) -> str:
    """How many rows each split has, for people: `train 97, dev 2, test 1`."""
    return ", ".join(f"{split} {count:,}" for split, count in Counter(splits).items())


def join_splits(sentence: str, voice: str) -> str | None:
    """The split of a row from those of its sentence (train, dev, test) and its voice (train, test); None drops it."""
    if (sentence == "test") != (voice == "test"):
        return None
    return sentence


def split_groups(groups: Sequence[Sequence[tuple[str, str]]], shares: Shares) -> list[str]:
    """Split rows of texts so that no sentence of any language is on two sides.

    Rows that share a sentence go together ("Hi." and "Hello." may both be translated by one word). All of them have the
    split of one sentence: the first in order of language and words.

    Args:
        groups: For each row, language and text of what says the same.
        shares: How much is held out.

    Returns:
        The split of each row.
    """
    sentences = [[(language, normalize_sentence(text)) for language, text in group] for group in groups]
    leader: dict[tuple[str, str], tuple[str, str]] = {}

    def find(sentence: tuple[str, str]) -> tuple[str, str]:
        while (above := leader.setdefault(sentence, sentence)) != sentence:
            leader[sentence] = leader.setdefault(above, above)
            sentence = above
        return sentence

    for group in sentences:
        # The smaller leads, so that the order of rows does not matter.
        leaders = sorted({find(sentence) for sentence in group})
        for other in leaders[1:]:
            leader[other] = leaders[0]
    return [split_sentence(find(group[0])[1], shares) if group else "train" for group in sentences]
