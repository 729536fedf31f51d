"""The synonym table, on a dictionary small enough to read and against NLTK's own reader."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from nltk.corpus.reader.wordnet import WordNetCorpusReader
from nltk.data import find

from molregpt.data.shipped import sample_pairs
from molregpt.metrics.wordnet import WordNet, build_table, load_wordnet

if TYPE_CHECKING:
    from pathlib import Path

# In the form of wndb(5WN): offset, file, part of speech, how many words (hexadecimal), each word with an id, the rest.
DATA = {
    "noun": [
        "  1 a line of the licence",
        "00000001 04 n 03 comic_strip 0 cartoon_strip 0 funnies 0 001 @ 00000002 n 0000 | a gloss",
        "00000002 04 n 02 comedian 0 comic 0 000 | a gloss",
        "00000003 04 n 01 goose 0 000 | a gloss",
        "00000004 04 n 02 acid_salt 0 hydrogen_salt 0 000 | a gloss",
    ],
    "verb": ["00000005 30 v 02 derive 0 gain 0 000 01 + 08 00 | a gloss"],
    "adj": ["00000006 00 a 02 galore(ip) 0 rife(p) 0 000 | a gloss"],
    "adv": ["00000007 02 r 01 well 0 000 | a gloss"],
}
EXCEPTIONS = {"noun": ["comics comic_strip comic", "geese goose"], "verb": [], "adj": [], "adv": ["better well"]}


def names(wordnet: WordNet | WordNetCorpusReader, word: str) -> set[str]:
    """What METEOR makes of a look-up: it drops names of more than one word."""
    found = {lemma.name() for synset in wordnet.synsets(word) for lemma in synset.lemmas()}
    return {name for name in found if "_" not in name}


@pytest.fixture
def small(tmp_path: Path) -> WordNet:
    for name, lines in DATA.items():
        (tmp_path / f"data.{name}").write_text("".join(f"{line}  \n" for line in lines))
        (tmp_path / f"{name}.exc").write_text("".join(f"{line}\n" for line in EXCEPTIONS[name]))
    return WordNet(build_table(tmp_path))


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("comic", {"comedian", "comic"}),
        ("comics", {"comedian", "comic", "funnies"}),
        ("geese", {"goose"}),
        ("gooses", {"goose"}),
        ("derives", {"derive", "gain"}),
        ("Derived", {"derive", "gain"}),
        ("deriving", {"derive", "gain"}),
        ("galore", {"galore", "rife"}),
        ("better", {"well"}),
        ("salt", set()),
        ("##ol", set()),
        ("", set()),
    ],
)
def test_look_up(small: WordNet, word: str, expected: set[str]) -> None:
    assert names(small, word) == expected


def test_the_shipped_table_is_whole() -> None:
    wordnet = load_wordnet()
    assert {"molecule", "particle"} <= names(wordnet, "molecules")
    assert {"Au", "gold"} <= names(wordnet, "gold")
    assert {"funnies", "comic"} <= names(wordnet, "comics")
    assert names(wordnet, "17beta") == set()


def test_the_shipped_table_answers_as_nltks_reader_does() -> None:
    try:
        corpus = find("corpora/wordnet")
    except LookupError:
        pytest.skip("NLTK's own WordNet is not installed")
    with pytest.warns(UserWarning, match="multilingual"):
        theirs = WordNetCorpusReader(corpus, None)
    ours = load_wordnet()
    text = " ".join(pair.caption.lower() for pair in sample_pairs())
    words = set(re.findall(r"[^\W_]+", text)) | set(list(theirs.all_lemma_names())[::50])
    assert len(words) > 3000
    assert {word for word in words if "_" not in word and names(ours, word) != names(theirs, word)} == set()
