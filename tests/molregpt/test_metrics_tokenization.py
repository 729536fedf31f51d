"""Tokenizers by name and from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from molregpt.errors import InputError
from molregpt.metrics.tokenization import load_tokenizer

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("scibert", "The molecule is a\tPregna.", ["the", "molecule", "is", "a", "pregn", "##a", "."]),
        ("scibert", "[CLS] an acid [SEP] \u2603", ["an", "acid", "[UNK]"]),
        ("words", "The N-acyl, (2R)!", ["the", "n", "-", "acyl", ",", "(", "2r", ")", "!"]),
        ("whitespace", "The N-acyl, (2R)!", ["the", "n-acyl,", "(2r)!"]),
        ("scibert", "", []),
        ("words", "", []),
    ],
)
def test_built_in_tokenizers(name: str, text: str, expected: list[str]) -> None:
    assert load_tokenizer(name).tokenize([text, "x"])[0] == expected


def test_scibert_is_the_published_vocabulary() -> None:
    tokenizer = load_tokenizer("scibert")
    assert tokenizer.name == "scibert"
    assert tokenizer.sha256 == "f0a650346e51ede8996710f79ba65d83fdb8da05b159f17037b74ba4e3a36c6f"


def test_a_tokenizer_file_gives_its_tokens_without_the_special_ones(tmp_path: Path) -> None:
    tokenizer = Tokenizer(WordLevel({"<unk>": 0, "<s>": 1, "an": 2, "acid": 3}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.add_special_tokens(["<unk>", "<s>"])
    tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.enable_truncation(2)
    tokenizer.save(str(tmp_path / "mine.json"))
    loaded = load_tokenizer(str(tmp_path / "mine.json"))
    assert loaded.name == "mine.json"
    assert loaded.tokenize(["an odd acid", "acid"]) == [["an", "<unk>", "acid"], ["acid"]]


def test_what_is_no_tokenizer_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither one of scibert, whitespace, words nor a readable file"):
        load_tokenizer("sci-bert")
    (tmp_path / "bad.json").write_text('{"version": "1.0"}')
    with pytest.raises(InputError, match="not a tokenizer file") as caught:
        load_tokenizer(str(tmp_path / "bad.json"))
    assert "\n" not in str(caught.value)
