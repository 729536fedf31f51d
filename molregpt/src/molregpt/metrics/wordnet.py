"""The synonyms that METEOR looks up, from a table that ships with the package.

NLTK's METEOR asks WordNet one thing: the single-word lemma names of all synsets of a word. NLTK's own reader needs a
separate download of 30 MB for that; the table here holds just those names, and gives the same answers for every
word without an underscore (tested against NLTK's reader).

The table is text, one entry a line:

    n comedian comic       a synset: its part of speech (n v a r) and its single-word lemma names
    +n geese goose         an irregular form: its part of speech, the form, and what it is a form of

Rebuild it from the dictionary folder of WordNet 3.0 (Debian's `wordnet-base` puts it in /usr/share/wordnet):

    python -m molregpt.metrics.wordnet /usr/share/wordnet wordnet.txt.gz
"""

from __future__ import annotations

import argparse
import gzip
import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from molregpt.assets import asset

_FILES = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}

# WordNet's rules of detachment (morphy(7WN)): an ending and what replaces it, tried once each.
_DETACHMENTS: dict[str, tuple[tuple[str, str], ...]] = {
    "n": (
        ("s", ""),
        ("ses", "s"),
        ("ves", "f"),
        ("xes", "x"),
        ("zes", "z"),
        ("ches", "ch"),
        ("shes", "sh"),
        ("men", "man"),
        ("ies", "y"),
    ),
    "v": (
        ("s", ""),
        ("ies", "y"),
        ("es", "e"),
        ("es", ""),
        ("ed", "e"),
        ("ed", ""),
        ("ing", "e"),
        ("ing", ""),
    ),
    "a": (("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
    "r": (),
}


@dataclass(frozen=True, slots=True)
class Lemma:
    """One word of a synset, with the method that NLTK's METEOR calls."""

    word: str

    def name(self) -> str:
        """The word."""
        return self.word


@dataclass(frozen=True, slots=True)
class Synset:
    """Words of one meaning, with the method that NLTK's METEOR calls."""

    words: tuple[Lemma, ...]

    def lemmas(self) -> tuple[Lemma, ...]:
        """The words."""
        return self.words


class WordNet:
    """Looks up synonyms as `nltk.corpus.wordnet` does, as far as METEOR needs it.

    Args:
        table: The text of a table, as the module's docstring describes it.
    """

    def __init__(self, table: str) -> None:
        self._synsets: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        self._irregular: dict[tuple[str, str], list[str]] = {}
        self._found: dict[str, tuple[Synset, ...]] = {}
        for line in table.splitlines():
            if line.startswith("+"):
                part, form, *bases = line[1:].split(" ")
                self._irregular[part, form] = bases
            else:
                # The names stay joined until somebody asks for them: most never are.
                for name in line[2:].lower().split(" "):
                    self._synsets[line[0], name].append(line[2:])

    def synsets(self, word: str) -> tuple[Synset, ...]:
        """All synsets of `word` and of its base forms, with their single-word names."""
        word = word.lower()
        if word not in self._found:
            self._found[word] = tuple(
                Synset(tuple(Lemma(name) for name in names.split(" ")))
                for part in _FILES
                for base in self._base_forms(word, part)
                for names in self._synsets[part, base]
            )
        return self._found[word]

    def _base_forms(self, word: str, part: str) -> list[str]:
        if (part, word) in self._irregular:
            candidates = [word, *self._irregular[part, word]]
        else:
            rules = _DETACHMENTS[part]
            candidates = [word, *(word[: -len(old)] + new for old, new in rules if word.endswith(old))]
        return [form for form in dict.fromkeys(candidates) if (part, form) in self._synsets]


@cache
def load_wordnet() -> WordNet:
    """The WordNet 3.0 table that ships with the package (loaded once)."""
    return WordNet(gzip.decompress(asset("wordnet.txt.gz").read_bytes()).decode("utf-8"))


def build_table(dictionary: Path) -> str:
    """Make the table from a folder with WordNet's `data.*` and `*.exc` files (formats: wndb(5WN))."""
    lines: dict[str, None] = {}
    for part, name in _FILES.items():
        exceptions = (dictionary / f"{name}.exc").read_text(encoding="utf-8").splitlines()
        irregular = [line.split() for line in exceptions if "_" not in line.split(" ", 1)[0]]
        lines |= {f"+{part} {' '.join(forms)}": None for forms in irregular}
        # "comics" leads to "comic_strip", whose synset has single words: such names are kept to be found by.
        bases = {base for _, *bases in irregular for base in bases}
        for line in (dictionary / f"data.{name}").read_text(encoding="utf-8").splitlines():
            if line.startswith(" "):  # the licence stands in indented lines at the top
                continue
            fields = line.split(" ")
            words = (fields[4 + 2 * i] for i in range(int(fields[3], 16)))
            # Adjectives may carry a marker of their position, as in "galore(ip)".
            names = [re.sub(r"\((?:a|p|ip)\)$", "", word) for word in words if "_" not in word or word in bases]
            if names:
                lines[f"{part} {' '.join(names)}"] = None
    return "".join(f"{line}\n" for line in lines)


def main() -> None:
    """Rebuild the table (see the module's docstring)."""
    parser = argparse.ArgumentParser(description="Make the synonym table from WordNet's dictionary files.")
    parser.add_argument("dictionary", type=Path, help="folder with data.noun, noun.exc, ...")
    parser.add_argument("output", type=Path, help="the gzipped table")
    arguments = parser.parse_args()
    # Without a time stamp the same dictionary gives the same bytes.
    arguments.output.write_bytes(gzip.compress(build_table(arguments.dictionary).encode("utf-8"), mtime=0))


if __name__ == "__main__":
    main()
