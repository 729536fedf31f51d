"""One id space for everything a model reads and writes.

Ids in order: the control tokens, the words of the task lines, one opening mark for each alphabet, then the alphabets
side by side. A slot's content is written as `<alphabet> ids... <end>`, so a sequence can be read back without doubt.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unitlm.alphabet import Alphabet, Content, alphabet_from_json
from unitlm.errors import InputError
from unitlm.files import read_json, write_json

if TYPE_CHECKING:
    from unitlm.task import Task

BEGIN = "<begin>"
END = "<end>"
CONTROLS = (BEGIN, END)
FORMAT = "unitlm.vocabulary/1"


class Vocabulary:
    """Alphabets laid side by side, with control tokens and the words of task lines."""

    def __init__(self, alphabets: Iterable[Alphabet], words: Iterable[str] = ()) -> None:
        """Lay out the ids.

        Args:
            alphabets: In the order in which their ids lie.
            words: Words of task lines; doubles are dropped.

        Raises:
            InputError: Two alphabets have the same name.
        """
        self.alphabets: dict[str, Alphabet] = {}
        for alphabet in alphabets:
            if alphabet.name in self.alphabets:
                raise InputError(f"vocabulary: two alphabets are named {alphabet.name}")
            self.alphabets[alphabet.name] = alphabet
        self.words = tuple(dict.fromkeys(words))
        marks = (*CONTROLS, *self.words, *(f"<{name}>" for name in self.alphabets))
        self._marks = marks
        self._openings = {name: len(CONTROLS) + len(self.words) + index for index, name in enumerate(self.alphabets)}
        self._word_ids = {word: len(CONTROLS) + index for index, word in enumerate(self.words)}
        self._starts: dict[str, int] = {}
        self.size = len(marks)
        for name, alphabet in self.alphabets.items():
            self._starts[name] = self.size
            self.size += alphabet.size

    @classmethod
    def build(cls, alphabets: Iterable[Alphabet], tasks: Iterable[Task]) -> Vocabulary:
        """The vocabulary in which all of `tasks` can be written."""
        return cls(alphabets, (word for task in tasks for word in task.words))

    @property
    def begin(self) -> int:
        """Id that starts each example and the query."""
        return 0

    @property
    def end(self) -> int:
        """Id that ends a slot's content."""
        return 1

    def word(self, word: str) -> int:
        """Id of a task line's word."""
        if word not in self._word_ids:
            raise InputError(f"vocabulary: no task word {word!r}; it has: {', '.join(self.words) or 'none'}")
        return self._word_ids[word]

    def opening(self, alphabet: str) -> int:
        """Id of the mark that opens content in `alphabet`."""
        self._expect(alphabet)
        return self._openings[alphabet]

    def span(self, alphabet: str) -> tuple[int, int]:
        """First id of `alphabet`, and the id behind its last."""
        self._expect(alphabet)
        return self._starts[alphabet], self._starts[alphabet] + self.alphabets[alphabet].size

    def encode(self, alphabet: str, content: Content) -> list[int]:
        """Write `content` in the ids of this vocabulary."""
        start, _ = self.span(alphabet)
        return [start + index for index in self.alphabets[alphabet].encode(content)]

    def decode(self, alphabet: str, ids: Sequence[int]) -> Content:
        """Read ids of this vocabulary as content of `alphabet`; InputError when one lies outside."""
        start, stop = self.span(alphabet)
        for position, index in enumerate(ids):
            if not start <= index < stop:
                raise InputError(
                    f"vocabulary: token {self.describe(index)} at position {position} is not in {alphabet}"
                )
        return self.alphabets[alphabet].decode([index - start for index in ids])

    def describe(self, index: int) -> str:
        """A token as people read it: `<begin>`, a word, `<zh.units>`, or `zh.units:17`."""
        if not 0 <= index < self.size:
            return f"<{index} outside of 0..{self.size - 1}>"
        if index < len(self._marks):
            return self._marks[index]
        starts = list(self._starts.values())
        position = bisect_right(starts, index) - 1
        return f"{list(self._starts)[position]}:{index - starts[position]}"

    def to_json(self) -> dict[str, Any]:
        """All that `from_json` needs."""
        return {
            "format": FORMAT,
            "words": list(self.words),
            "alphabets": [alphabet.to_json() for alphabet in self.alphabets.values()],
        }

    @classmethod
    def from_json(cls, data: Any) -> Vocabulary:
        """Build the vocabulary that `to_json` wrote; InputError when it did not."""
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise InputError(f"vocabulary: not of format {FORMAT}")
        try:
            return cls([alphabet_from_json(alphabet) for alphabet in data["alphabets"]], data["words"])
        except (KeyError, TypeError) as error:
            raise InputError(f"vocabulary: malformed ({type(error).__name__}: {error})") from error

    def save(self, path: Path) -> None:
        """Write the vocabulary as JSON, atomically."""
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Read what `save` wrote.

        Raises:
            InputError: No such file, or not a vocabulary.
        """
        values = read_json(path)
        try:
            return cls.from_json(values)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash((self.words, tuple(self.alphabets)))

    def _expect(self, alphabet: str) -> None:
        if alphabet not in self.alphabets:
            raise InputError(f"vocabulary: no alphabet {alphabet!r}; it has: {', '.join(self.alphabets) or 'none'}")
