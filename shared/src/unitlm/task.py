"""A task said in one line, with typed slots.

    translate {src:zh.units} to {tgt:en.units}

`{name:alphabet}` is a slot. A slot that the model is to fill ends in an exclamation mark, `{tgt:en.units!}`; when none
is marked, the last slot is the one. Several marked slots make a chain, filled one after the other:

    translate {src:zh.units} by way of {heard:zh.text!} and {said:en.text!} to {tgt:en.units!}

Filled in, a line becomes ids `<begin> translate <zh.units> 5 9 <end> to <en.units> 3 <end>`, a mask of the tokens that
are learned (content and end of the marked slots), and, for decoding, the ids so far with the alphabet that may follow.
Examples are the same line, filled in wholly, before the query. The same line and examples also make chat messages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from unitlm.alphabet import Content
from unitlm.errors import InputError
from unitlm.vocabulary import Vocabulary

Values = Mapping[str, Content]
"""Slot name to content."""

_PART = re.compile(r"\{(?P<slot>[^{}]*)\}|(?P<word>[^\s{}]+)|(?P<stray>[{}])")
_SLOT = re.compile(r"(?P<name>[A-Za-z_]\w*):(?P<alphabet>[A-Za-z][\w.-]*)(?P<generated>!?)")


@dataclass(frozen=True, slots=True)
class Slot:
    """A typed gap in a task line; the model fills it when `generated`."""

    name: str
    alphabet: str
    generated: bool


@dataclass(frozen=True, slots=True)
class Span:
    """Where a slot's content lies: `ids[start:stop]`; `example` counts from 0 and is None for the query."""

    slot: Slot
    start: int
    stop: int
    example: int | None


@dataclass(frozen=True, slots=True)
class Compiled:
    """A task line, filled in.

    Attributes:
        ids: Token ids.
        loss_mask: For each token, whether it is learned (as the target of the position before it).
        spans: Content of every slot, in order.
    """

    ids: tuple[int, ...]
    loss_mask: tuple[bool, ...]
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model continues: the ids up to the opening mark of `slot`, whose alphabet alone may follow, then end."""

    ids: tuple[int, ...]
    slot: Slot


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class Task:
    """A parsed task line."""

    line: str
    parts: tuple[str | Slot, ...]

    @classmethod
    def parse(cls, line: str) -> Task:
        """Read a task line.

        Raises:
            InputError: A malformed slot, a stray brace, a slot name used twice, or no slot at all.
        """
        parts: list[str | Slot] = []
        for match in _PART.finditer(line):
            if match["stray"]:
                raise InputError(f"task {line!r}: stray {match['stray']!r} at column {match.start() + 1}")
            if match["word"]:
                parts.append(match["word"])
                continue
            slot = _SLOT.fullmatch(match["slot"])
            if slot is None:
                where = f"task {line!r}: {match[0]!r} at column {match.start() + 1}"
                raise InputError(f"{where} is not {{name:alphabet}} or {{name:alphabet!}}")
            parts.append(Slot(slot["name"], slot["alphabet"], bool(slot["generated"])))
        slots = [part for part in parts if isinstance(part, Slot)]
        if not slots:
            raise InputError(f"task {line!r}: no slot; write one as {{name:alphabet}}")
        names = [slot.name for slot in slots]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"task {line!r}: two slots are named {name!r}")
        if not any(slot.generated for slot in slots):
            last = slots[-1]
            parts[parts.index(last)] = Slot(last.name, last.alphabet, generated=True)
        return cls(line, tuple(parts))

    @property
    def slots(self) -> tuple[Slot, ...]:
        """All slots, in order."""
        return tuple(part for part in self.parts if isinstance(part, Slot))

    @property
    def words(self) -> tuple[str, ...]:
        """All words, in order."""
        return tuple(part for part in self.parts if isinstance(part, str))

    def compile(
        self, values: Values, vocabulary: Vocabulary, examples: Sequence[Values] = (), learn_examples: bool = False
    ) -> Compiled:
        """Fill in the whole line, as training needs it.

        Args:
            values: Content of every slot.
            vocabulary: Gives the ids.
            examples: The same line's values for other cases, put before the query in this order.
            learn_examples: Whether the marked slots of the examples are learned too.

        Raises:
            InputError: A slot is missing or unknown, or its content cannot be written in its alphabet.
        """
        ids: list[int] = []
        loss_mask: list[bool] = []
        spans: list[Span] = []
        for number, case in enumerate((*examples, values)):
            is_query = number == len(examples)
            self._check_names(case, [slot.name for slot in self.slots], None if is_query else number)
            ids.append(vocabulary.begin)
            for part in self.parts:
                if isinstance(part, str):
                    ids.append(vocabulary.word(part))
                    continue
                ids.append(vocabulary.opening(part.alphabet))
                content = vocabulary.encode(part.alphabet, case[part.name])
                spans.append(Span(part, len(ids), len(ids) + len(content), None if is_query else number))
                loss_mask.extend([False] * (len(ids) - len(loss_mask)))
                ids.extend((*content, vocabulary.end))
                learned = part.generated and (is_query or learn_examples)
                loss_mask.extend([learned] * (len(content) + 1))
            loss_mask.extend([False] * (len(ids) - len(loss_mask)))
        return Compiled(tuple(ids), tuple(loss_mask), tuple(spans))

    def compile_within(
        self,
        values: Values,
        vocabulary: Vocabulary,
        examples: Sequence[Values],
        longest: int,
        learn_examples: bool = False,
    ) -> Compiled | None:
        """As `compile`, with as many of the last examples as fit into `longest` ids; None if none and it does not fit.

        Raises:
            InputError: As for `compile`.
        """
        for first in range(len(examples) + 1):
            compiled = self.compile(values, vocabulary, examples[first:], learn_examples)
            if len(compiled.ids) <= longest:
                return compiled
        return None

    def prompt(self, values: Values, vocabulary: Vocabulary, examples: Sequence[Values] = ()) -> Prompt:
        """The ids up to the first marked slot that `values` does not fill yet.

        Filling that slot in `values` and calling again gives the next link of a chain.

        Raises:
            InputError: A slot that comes earlier is missing, a name is unknown or comes later in the line (the model
                would not see it), or nothing is left to fill.
        """
        before: list[str | Slot] = []
        for part in self.parts:
            if isinstance(part, Slot) and part.generated and part.name not in values:
                break
            before.append(part)
        else:
            raise InputError(f"task {self.line!r}: every slot is filled; nothing is left to generate")
        head = Task(self.line, tuple(before))
        ids: list[int] = []
        for number, example in enumerate(examples):
            self._check_names(example, [slot.name for slot in self.slots], number)
            ids.extend(self.compile(example, vocabulary).ids)
        head._check_names(values, [slot.name for slot in head.slots], None)
        ids.extend(head.compile(values, vocabulary).ids)
        ids.append(vocabulary.opening(part.alphabet))
        return Prompt(tuple(ids), part)

    def decode(self, ids: Sequence[int], vocabulary: Vocabulary) -> list[dict[str, Content]]:
        """Read a compiled sequence back: the values of each example, then of the query; the inverse of `compile`.

        Raises:
            InputError: The sequence is not this line, filled in.
        """
        cases: list[dict[str, Content]] = []
        position = 0
        while position < len(ids):
            position = self._expect_token(ids, position, vocabulary.begin, vocabulary)
            case: dict[str, Content] = {}
            for part in self.parts:
                if isinstance(part, str):
                    position = self._expect_token(ids, position, vocabulary.word(part), vocabulary)
                    continue
                position = self._expect_token(ids, position, vocabulary.opening(part.alphabet), vocabulary)
                start = position
                while position < len(ids) and ids[position] != vocabulary.end:
                    position += 1
                case[part.name] = vocabulary.decode(part.alphabet, ids[start:position])
                position = self._expect_token(ids, position, vocabulary.end, vocabulary)
            cases.append(case)
        return cases

    def render_messages(
        self, query: Values, examples: Sequence[Values] = (), *, system: str, question: str, answer: str
    ) -> list[Message]:
        """The same task and examples for a language model behind an API.

        Args:
            query: Content of the slots that are given.
            examples: Content of all slots for each example, in the order in which they are shown.
            system: The system message, used as it is.
            question: A format string over slot names, such as `Describe {smiles}`.
            answer: A format string over slot names, such as `{caption}`.

        Returns:
            System, then a user and an assistant turn for each example, then the query's user turn. Contents are put
            in as data: braces in them mean nothing.

        Raises:
            InputError: A slot is missing or unknown, or a format string names one that does not exist or is malformed.
        """
        messages = [Message("system", system)]
        for number, example in enumerate(examples):
            self._check_names(example, [slot.name for slot in self.slots], number)
            messages.append(Message("user", self._render(question, example)))
            messages.append(Message("assistant", self._render(answer, example)))
        self._check_names(query, [slot.name for slot in self.slots if not slot.generated], None)
        messages.append(Message("user", self._render(question, query)))
        return messages

    def _render(self, template: str, values: Values) -> str:
        texts = {name: value if isinstance(value, str) else " ".join(map(str, value)) for name, value in values.items()}
        try:
            return template.format_map(texts)
        except KeyError as error:
            raise InputError(f"task {self.line!r}: the template {template!r} names no known slot: {error}") from error
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise InputError(f"task {self.line!r}: the template {template!r} cannot be filled: {error}") from error

    def _check_names(self, values: Values, expected: Sequence[str], example: int | None) -> None:
        where = f"task {self.line!r}" + ("" if example is None else f", example {example + 1}")
        for name in values:
            if name not in expected:
                raise InputError(f"{where}: no slot named {name!r} here; it has: {', '.join(expected) or 'none'}")
        for name in expected:
            if name not in values:
                raise InputError(f"{where}: slot {name!r} is not filled")

    def _expect_token(self, ids: Sequence[int], position: int, expected: int, vocabulary: Vocabulary) -> int:
        found = vocabulary.describe(ids[position]) if position < len(ids) else "the end of the sequence"
        if position >= len(ids) or ids[position] != expected:
            raise InputError(
                f"task {self.line!r}: expected {vocabulary.describe(expected)} at token {position}, found {found}"
            )
        return position + 1
