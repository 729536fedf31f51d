"""Alphabets: each kind of unit, and how to write it as ids.

An alphabet turns content into ids 0..size-1 and back. Where its ids lie among all others is the vocabulary's business.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from operator import index
from typing import TYPE_CHECKING, Any, ClassVar

from unitlm.errors import InputError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Content = str | Sequence[int]
"""What a slot holds: a string (text, SMILES) or a sequence of integers (speech units, codec codes, run lengths)."""

NAME = re.compile(r"[A-Za-z][\w.-]*")

# Atoms and bonds of a SMILES string, after Schwaller et al. 2019 (doi 10.1021/acscentsci.9b00576): bracket atoms are
# one token, two-letter halogens are not torn apart, %nn ring bonds are one token. Anything else is a single character.
SMILES_TOKEN = re.compile(r"\[[^\[\]]+\]|Br|Cl|%\d\d|.", re.DOTALL)


class Alphabet(ABC):
    """One kind of unit.

    Attributes:
        name: What task lines call it, such as `en.units` or `smiles`.
        kind: The name of the subclass in JSON.
    """

    kind: ClassVar[str]

    def __init__(self, name: str) -> None:
        if not NAME.fullmatch(name):
            raise InputError(f"alphabet {name!r}: a name is a letter, then letters, digits, '.', '_' or '-'")
        self.name = name

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of ids."""

    @abstractmethod
    def encode(self, content: Content) -> list[int]:
        """Write `content` as ids; InputError when it cannot be written."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> Content:
        """Read ids back; the inverse of `encode` on whatever `encode` accepts."""

    @abstractmethod
    def spell(self, index: int, other: Alphabet) -> list[int]:
        """What an id says, in ids of another alphabet of the same kind; none when it cannot be said there."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """All that `alphabet_from_json` needs."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Alphabet) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash((self.kind, self.name))

    def _expect_string(self, content: Content) -> str:
        if not isinstance(content, str):
            raise InputError(f"alphabet {self.name}: expected a string, got {type(content).__name__}")
        try:
            content.encode()
        except UnicodeEncodeError as error:  # half of a surrogate pair: what Python makes of broken UTF-8 in arguments
            where = f"{content[error.start]!r} at position {error.start}"
            raise InputError(f"alphabet {self.name}: {where} is no character") from error
        return content


class Units(Alphabet):
    """Integers 0..size-1 as they are: speech units, one codec level, run lengths."""

    kind = "units"

    def __init__(self, name: str, size: int) -> None:
        super().__init__(name)
        if size < 1:
            raise InputError(f"alphabet {name}: size must be at least 1, got {size}")
        self._size = size

    @property
    def size(self) -> int:
        """Number of ids."""
        return self._size

    def encode(self, content: Content) -> list[int]:
        """Check and copy the integers."""
        if isinstance(content, str):
            raise InputError(f"alphabet {self.name}: expected integers, got a string")
        try:
            ids = [index(unit) for unit in content]
        except TypeError as error:
            raise InputError(f"alphabet {self.name}: expected integers ({error})") from error
        for position, unit in enumerate(ids):
            if not 0 <= unit < self._size:
                raise InputError(
                    f"alphabet {self.name}: unit {unit} at position {position} is not in 0..{self._size - 1}"
                )
        return ids

    def decode(self, ids: Sequence[int]) -> list[int]:
        """Copy the integers."""
        return list(ids)

    def spell(self, index: int, other: Alphabet) -> list[int]:
        """The same integer, where the other has it."""
        return [index] if isinstance(other, Units) and index < other.size else []

    def to_json(self) -> dict[str, Any]:
        """Kind, name and size."""
        return {"kind": self.kind, "name": self.name, "size": self._size}


class Bytes(Alphabet):
    """Text as UTF-8 bytes: 256 ids, nothing to train, every script."""

    kind = "bytes"

    @property
    def size(self) -> int:
        """Number of ids."""
        return 256

    def encode(self, content: Content) -> list[int]:
        """The string's UTF-8 bytes."""
        return list(self._expect_string(content).encode())

    def decode(self, ids: Sequence[int]) -> str:
        """The string; bytes that a model cut in the middle of a character become U+FFFD."""
        return bytes(ids).decode(errors="replace")

    def spell(self, index: int, other: Alphabet) -> list[int]:
        """The same byte."""
        return [index] if isinstance(other, Bytes) else []

    def to_json(self) -> dict[str, Any]:
        """Kind and name."""
        return {"kind": self.kind, "name": self.name}


class Pieces(Alphabet):
    """Text as pieces of a trained `tokenizers` tokenizer, held as the library's own JSON."""

    kind = "pieces"

    def __init__(self, name: str, tokenizer_json: str) -> None:
        super().__init__(name)
        self._json = tokenizer_json

    @classmethod
    def train(cls, name: str, texts: Iterable[str], size: int, *, across_words: bool = False) -> Pieces:
        """Train byte-level BPE with at most `size` pieces; decoding gives every string back exactly.

        Args:
            name: The alphabet's name.
            texts: What to learn the merges from.
            size: The most pieces; at least the 256 bytes.
            across_words: Whether a piece may span words and punctuation. Formulaic text (`. It has a role as a`) and
                SMILES (whole ring systems) then take far fewer pieces.
        """
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not across_words)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
        )
        tokenizer.train_from_iterator(texts, trainer)
        return cls(name, tokenizer.to_str())

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The library's tokenizer; InputError when the JSON is not one."""
        from tokenizers import Tokenizer

        try:
            return Tokenizer.from_str(self._json)
        except Exception as error:  # the library raises bare Exception
            raise InputError(f"alphabet {self.name}: not a tokenizers JSON ({error})") from error

    @property
    def size(self) -> int:
        """Number of ids."""
        return int(self.tokenizer.get_vocab_size())

    def encode(self, content: Content) -> list[int]:
        """The string's pieces."""
        return list(self.tokenizer.encode(self._expect_string(content), add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """The pieces' string."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False))

    def spell(self, index: int, other: Alphabet) -> list[int]:
        """The other's pieces of the same bytes, which need not be whole characters."""
        if not isinstance(other, Pieces):
            return []
        return [token.id for token in other.tokenizer.model.tokenize(self.tokenizer.id_to_token(index))]

    def to_json(self) -> dict[str, Any]:
        """Kind, name and the tokenizer's JSON."""
        return {"kind": self.kind, "name": self.name, "tokenizer": self._json}


class Smiles(Alphabet):
    """SMILES as atoms, bonds and brackets.

    A token that is not in the alphabet is spelled by its characters, so any string of printable ASCII can be written
    and comes back unchanged.
    """

    kind = "smiles"
    CHARACTERS: ClassVar[tuple[str, ...]] = tuple(map(chr, range(33, 127)))

    def __init__(self, name: str, tokens: Iterable[str] = ()) -> None:
        super().__init__(name)
        self._tokens = (*self.CHARACTERS, *(token for token in dict.fromkeys(tokens) if len(token) > 1))
        self._ids = {token: index for index, token in enumerate(self._tokens)}

    @classmethod
    def train(cls, name: str, smiles: Iterable[str], minimum: int = 2) -> Smiles:
        """Take each token that occurs at least `minimum` times, the most frequent first."""
        from collections import Counter

        counts = Counter(token for line in smiles for token in SMILES_TOKEN.findall(line))
        return cls(name, (token for token, count in counts.most_common() if count >= minimum))

    @property
    def size(self) -> int:
        """Number of ids."""
        return len(self._tokens)

    def encode(self, content: Content) -> list[int]:
        """The string's tokens."""
        ids: list[int] = []
        for token in SMILES_TOKEN.findall(self._expect_string(content)):
            for part in (token,) if token in self._ids else token:
                if part not in self._ids:
                    raise InputError(f"alphabet {self.name}: {part!r} does not occur in SMILES")
                ids.append(self._ids[part])
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The tokens' string."""
        return "".join(self._tokens[index] for index in ids)

    def spell(self, index: int, other: Alphabet) -> list[int]:
        """The other's tokens of the same characters."""
        return other.encode(self._tokens[index]) if isinstance(other, Smiles) else []

    def to_json(self) -> dict[str, Any]:
        """Kind, name and the tokens beyond single characters."""
        return {"kind": self.kind, "name": self.name, "tokens": list(self._tokens[len(self.CHARACTERS) :])}


def alphabet_from_json(data: Mapping[str, Any]) -> Alphabet:
    """Build the alphabet that `Alphabet.to_json` wrote.

    Raises:
        InputError: An unknown kind, or a field that is missing.
    """
    try:
        match data["kind"]:
            case Units.kind:
                return Units(data["name"], data["size"])
            case Bytes.kind:
                return Bytes(data["name"])
            case Pieces.kind:
                return Pieces(data["name"], data["tokenizer"])
            case Smiles.kind:
                return Smiles(data["name"], data["tokens"])
            case unknown:
                raise InputError(f"alphabet: unknown kind {unknown!r}")
    except (KeyError, TypeError) as error:
        raise InputError(f"alphabet: malformed description ({type(error).__name__}: {error})") from error
