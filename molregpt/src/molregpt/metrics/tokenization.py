"""Tokenizers of caption scores; a score is worth little without the name of its tokenizer.

MolT5's published scores use SciBERT's WordPiece; MolReGPT's BLEU and METEOR use a T5 tokenizer, so the two papers'
figures differ by more than the models do.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from molregpt.assets import asset
from molregpt.errors import InputError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_PATTERNS = {"whitespace": r"\S+", "words": r"\w+|[^\w\s]"}


@dataclass(frozen=True, slots=True)
class CaptionTokenizer:
    """Splits captions into the tokens that scores count.

    Attributes:
        name: What to call it beside a score.
        sha256: Digest of the vocabulary file, the tokenizer file or the pattern.
        tokenize: Splits each of several texts.
    """

    name: str
    sha256: str
    tokenize: Callable[[Sequence[str]], list[list[str]]]

    def as_json(self) -> dict[str, str]:
        """Name and digest."""
        return {"name": self.name, "sha256": self.sha256}


def load_tokenizer(name: str = "scibert") -> CaptionTokenizer:
    """Load a tokenizer.

    Args:
        name: `scibert` (WordPiece, lower-cased), `words` (runs of letters and digits, and single punctuation marks,
            lower-cased), `whitespace` (lower-cased), or the path of a `tokenizer.json` of the `tokenizers` library.

    Raises:
        InputError: There is no such tokenizer, or the file is none.
    """
    if name == "scibert":
        return _load_scibert()
    if name in _PATTERNS:
        pattern = re.compile(_PATTERNS[name])
        return CaptionTokenizer(
            name,
            hashlib.sha256(pattern.pattern.encode()).hexdigest(),
            lambda texts: [pattern.findall(text.lower()) for text in texts],
        )
    return _load_file(Path(name))


@cache
def _load_scibert() -> CaptionTokenizer:
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer

    content = gzip.decompress(asset("scibert_vocab.txt.gz").read_bytes())
    # Not str.splitlines: some tokens are themselves line separators of Unicode.
    tokens = content.decode("utf-8").removesuffix("\n").split("\n")
    unknown = "[UNK]"
    tokenizer = Tokenizer(WordPiece({token: i for i, token in enumerate(tokens)}, unk_token=unknown))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.add_special_tokens([unknown, "[PAD]", "[CLS]", "[SEP]", "[MASK]"])
    return CaptionTokenizer("scibert", hashlib.sha256(content).hexdigest(), _encoder(tokenizer, unknown))


def _load_file(path: Path) -> CaptionTokenizer:
    from tokenizers import Tokenizer

    try:
        content = path.read_bytes()
    except OSError as error:
        names = ", ".join(["scibert", *_PATTERNS])
        raise InputError(f"tokenizer {path}: neither one of {names} nor a readable file ({error.strerror})") from None
    try:
        tokenizer = Tokenizer.from_buffer(content)
    except Exception as error:  # the library raises bare Exception for every kind of wrong content
        raise InputError(f"{path}: not a tokenizer file ({str(error).splitlines()[0]})") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    unknown = getattr(tokenizer.model, "unk_token", None)
    return CaptionTokenizer(path.name, hashlib.sha256(content).hexdigest(), _encoder(tokenizer, unknown))


def _encoder(tokenizer: Tokenizer, unknown: str | None) -> Callable[[Sequence[str]], list[list[str]]]:
    """Tokens without the special ones, except the one that stands for an unknown word: that is a part of the text."""
    special = {added.content for added in tokenizer.get_added_tokens_decoder().values() if added.special} - {unknown}

    def tokenize(texts: Sequence[str]) -> list[list[str]]:
        encodings = tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [[token for token in encoding.tokens if token not in special] for encoding in encodings]

    return tokenize
