"""How captions become words for BM25.

`whitespace` splits at white space and nothing else, as MolReGPT's retrieval does; `chemistry` knows how names of
compounds are built; `char` makes n-grams of characters, which need no knowledge at all. Measured on ChEBI-20 (8,662
captions; the first 700 test rows as queries; k1 = 1.5, b = 0.75): the molecule of the first caption found has a mean
Morgan Tanimoto of 0.481, 0.519 and 0.532 to the one asked for; a query takes about 1, 2 and 8 ms.

`pieces` makes longer n-grams, each once and across words: by them a text finds compounds whose names it says in part.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Literal, get_args

from molindex.errors import InputError

Tokenizer = Literal["chemistry", "whitespace", "char", "pieces"]

# A tokenizer's number is part of an index's settings: raise it when its tokens change, and old index files are refused.
_REVISIONS: dict[Tokenizer, int] = {"chemistry": 1, "whitespace": 1, "char": 1, "pieces": 1}

_GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ζ": "zeta", "η": "eta", "θ": "theta",
    "κ": "kappa", "λ": "lambda", "μ": "mu", "ξ": "xi", "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau", "φ": "phi",
    "χ": "chi", "ψ": "psi", "ω": "omega",
}  # fmt: skip
_SPELLINGS = str.maketrans({**_GREEK, "→": "->", "′": "'", "’": "'", "″": "''", "–": "-", "‐": "-", "‑": "-", "−": "-"})
_GREEK_NAME = "|".join(sorted(_GREEK.values(), key=len, reverse=True))
_LOCANT = rf"\d+(?:(?:{_GREEK_NAME}|[a-z])(?![a-z]))?'*"
_CHEMISTRY_TOKEN = re.compile(
    rf"""
    \(\d+'*->\d+'*\)                                  # a linkage: (1->4)
    | \([+-]\)                                        # a sign of rotation: (+)
    | \(\d*[+-]\)                                     # a charge: (2-)
    | (?:(?:{_GREEK_NAME}|[a-z]+)\(\d+\))             # a superscript: delta(4), n(6)
    | \({_LOCANT}(?:,{_LOCANT})*\)                    # stereo descriptors: (2r,3s)
    | \[{_LOCANT}(?:[.,]{_LOCANT})*\]                 # a ring system's bridges: [4.3.0]
    | {_LOCANT}(?:[.,]{_LOCANT})*                     # locants, and numbers with points: 17beta  3,4  1.1.1.146
    | (?:{_GREEK_NAME})(?![a-z])
    | [a-z]+(?:'(?=s\b))?                             # a word, or a part of a name
    """,
    re.VERBOSE,
)
_SHORTEST_GRAM, _LONGEST_GRAM = 3, 5
_PIECE = 5


def settings_of(tokenizer: Tokenizer) -> str:
    """Name and revision, as an index's provenance states them: `chemistry.1`.

    Raises:
        InputError: There is no such tokenizer.
    """
    if tokenizer not in get_args(Tokenizer):
        raise InputError(f"unknown tokenizer {tokenizer!r}; known are {', '.join(get_args(Tokenizer))}")
    return f"{tokenizer}.{_REVISIONS[tokenizer]}"


def tokenize(text: str, tokenizer: Tokenizer) -> list[str]:
    """Split a caption into tokens, in order, repeats kept (but for `pieces`).

    Raises:
        InputError: There is no such tokenizer.
    """
    settings_of(tokenizer)
    return _TOKENIZERS[tokenizer](text)


def _split_chemistry(text: str) -> list[str]:
    """Words in lower case; names cut at hyphens and brackets, their locants, linkages, charges and Greek kept whole.

    `α` and `alpha` are one token, as are the typographic forms of primes, hyphens and arrows. Beside the parts of a
    name, the name itself is a token: the same compound counts more than the same pieces.
    """
    plain = unicodedata.normalize("NFC", text).lower().translate(_SPELLINGS)
    tokens: list[str] = []
    for word in plain.split():
        parts = _CHEMISTRY_TOKEN.findall(word)
        tokens += parts
        name = word.rstrip(".,;:")
        if len(parts) > 1:
            tokens.append(name)
    return tokens


def _split_whitespace(text: str) -> list[str]:
    return text.split()


def _split_characters(text: str) -> list[str]:
    """All n-grams of 3 to 5 characters inside each word of the lower-cased text, with `_` for the word's borders."""
    grams: list[str] = []
    for word in unicodedata.normalize("NFC", text).lower().split():
        padded = f"_{word}_"
        for size in range(_SHORTEST_GRAM, _LONGEST_GRAM + 1):
            grams += [padded[begin : begin + size] for begin in range(len(padded) - size + 1)]
    return grams


def _split_pieces(text: str) -> list[str]:
    """All different pieces of 5 characters of the lower-cased text, in order of appearance."""
    lower = unicodedata.normalize("NFC", text).lower()
    return list(dict.fromkeys(lower[begin : begin + _PIECE] for begin in range(len(lower) - _PIECE + 1)))


_TOKENIZERS: dict[Tokenizer, Callable[[str], list[str]]] = {
    "chemistry": _split_chemistry,
    "whitespace": _split_whitespace,
    "char": _split_characters,
    "pieces": _split_pieces,
}
