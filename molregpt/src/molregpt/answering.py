"""Reading a model's reply, checking it, and asking again when it fails.

A reply passes when it holds a JSON object of the asked-for schema, anywhere in its text, and, where a molecule was
asked for, when that molecule parses. A reply without such an object may still say something usable (a bare SMILES, a
caption in plain prose, a JSON object that was cut off): that is kept as a candidate, and the model is asked again with
the reason. See `answer_question` for what is answered in the end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from molregpt.prompts import render_repair
from molregpt.records import Answer, Direction, Question, Reply, Usage
from unitlm.task import Message

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

Ask = Callable[[Sequence[Message]], Awaitable[Reply]]
"""Sends messages to a model."""

FIELD_NAMES: dict[Direction, str] = {"mol2cap": "caption", "cap2mol": "smiles"}

_LONGEST_REPLY = 50_000
_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_BACKSLASHES = re.compile(r'\\(?:\\|"|u[0-9a-fA-F]{4})|\\')
_FENCED = re.compile(r"```[\w-]*\n?(.*?)```|`([^`\n]+)`", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a reply says and whether it may be used.

    Attributes:
        text: The caption or SMILES that was read; empty when none was.
        problem: Why the reply fails, in one line; empty when it passes.
        usable: Whether `text` may serve as an answer although the reply fails.
    """

    text: str
    problem: str = ""
    usable: bool = False


def answer_schema(direction: Direction) -> dict[str, Any]:
    """The JSON schema of an answer."""
    name = FIELD_NAMES[direction]
    return {
        "type": "object",
        "properties": {name: {"type": "string", "minLength": 1}},
        "required": [name],
    }


def check_reply(direction: Direction, reply: str) -> Verdict:
    """Read the answer out of a reply and check it.

    The last object that passes counts, as models that think aloud write drafts first.

    Args:
        direction: What was asked for.
        reply: The model's whole text.
    """
    # Some templates open the thought in the prompt: then the reply begins within it, and only closes it.
    within, _, behind = _THOUGHT.sub("", reply).rpartition("</think>")
    text = (behind if behind.strip() else within)[-_LONGEST_REPLY:].strip()
    if not text:
        return Verdict("", "the reply is empty")
    verdict: Verdict | None = None
    for candidate in _find_objects(text, direction):
        judged = _check_object(direction, candidate)
        if not judged.problem or verdict is None or verdict.problem:
            verdict = judged
    return verdict or _read_loosely(direction, text)


@cache
def _validator(direction: Direction) -> Draft202012Validator:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(answer_schema(direction))


def _check_object(direction: Direction, candidate: Mapping[str, Any]) -> Verdict:
    for error in _validator(direction).iter_errors(candidate):
        return Verdict("", f"the JSON object does not fit the schema: {_one_line(error.message)}")
    said = candidate[FIELD_NAMES[direction]]
    if direction == "mol2cap":
        caption = _one_line(said, limit=None)
        return Verdict(caption, "" if caption else "the caption is blank", usable=bool(caption))
    return check_molecule(said)


def check_molecule(smiles: str) -> Verdict:
    """Check that a SMILES parses; doubled backslashes (escaped once too often) become single ones."""
    from molindex.smiles import SmilesError, parse_smiles

    single = smiles.strip().replace("\\\\", "\\")
    try:
        parse_smiles(single)
    except SmilesError as error:
        return Verdict(single, str(error))
    return Verdict(single, usable=True)


def _find_objects(text: str, direction: Direction) -> Iterator[dict[str, Any]]:
    """All JSON objects in `text`, outermost ones, in order of appearance."""
    # strict=False: models write raw line breaks into strings.
    decoder = json.JSONDecoder(strict=False)
    position = text.find("{")
    # Nothing after the last closing brace can be whole, however many braces a rambling model opens there.
    last = text.rfind("}")
    while 0 <= position < last:
        found = _decode_object(text, position, decoder)
        if direction == "cap2mol" and (found is None or _holds_control(found[0])):
            # A SMILES backslash that was not doubled: JSON refuses "\C" and turns "\n" or "\b" into a control sign.
            found = _decode_lone_backslashes(text, position, decoder)
        if found is not None:
            yield found[0]
        position = text.find("{", position + 1 if found is None else found[1])


def _decode_object(text: str, position: int, decoder: json.JSONDecoder) -> tuple[dict[str, Any], int] | None:
    try:
        value, end = decoder.raw_decode(text, position)
    except (ValueError, RecursionError):
        return None
    return value, end


def _holds_control(value: Mapping[str, Any]) -> bool:
    said = value.get(FIELD_NAMES["cap2mol"])
    return isinstance(said, str) and any(ord(character) < 32 for character in said.strip())


def _decode_lone_backslashes(text: str, position: int, decoder: json.JSONDecoder) -> tuple[dict[str, Any], int] | None:
    """Decode the object at `position` with each lone backslash doubled; also where it ends in `text` itself."""
    doubled = _BACKSLASHES.sub(lambda match: match[0] if len(match[0]) > 1 else "\\\\", text[position:])
    found = _decode_object(doubled, 0, decoder)
    if found is None:
        return None
    # Doubling moves what follows, but the n-th closing brace of the one text is the n-th of the other.
    end = position
    for _ in range(doubled.count("}", 0, found[1])):
        end = text.index("}", end) + 1
    return found[0], end


def _read_loosely(direction: Direction, text: str) -> Verdict:
    """What a reply without a JSON object may still say."""
    problem = "the reply holds no JSON object"
    name = FIELD_NAMES[direction]
    cut = re.search(rf'"{name}"\s*:\s*"((?:[^"\\]|\\.)+)', text, re.DOTALL)
    if cut is not None:
        problem = "the JSON object of the reply is cut off or malformed"
    if direction == "mol2cap":
        said = _unescape(cut[1]) if cut is not None else _FENCED.sub(lambda match: match[1] or match[2] or "", text)
        caption = _one_line(said, limit=None)
        return Verdict(caption, problem, usable=bool(caption))
    # A molecule that was cut off is another molecule, so only a whole one counts: the reply itself or its code spans.
    spans = [] if cut is not None else [text, *((match[1] or match[2] or "") for match in _FENCED.finditer(text))]
    for span in spans:
        verdict = check_molecule(span)
        if verdict.usable:
            return Verdict(verdict.text, problem, usable=True)
    return Verdict("", problem)


def _unescape(body: str) -> str:
    try:
        return str(json.loads(f'"{body}"', strict=False))
    except ValueError:
        return body


def _one_line(text: str, limit: int | None = 300) -> str:
    return " ".join(text.split())[:limit]


async def answer_question(question: Question, messages: Sequence[Message], ask: Ask, *, repairs: int) -> Answer:
    """Ask a model, check what it says, ask again with the reason when that fails.

    The first reply that passes is the answer (`model`, or `repaired` when it was asked again). When none passes in
    1 + `repairs` attempts, the answer is the first reply that is usable all the same (`candidate`), else the nearest
    example's own text (`neighbour`), else - in a question without examples - whatever was read last, so that a
    molecule that does not parse is still counted as the model's own (`candidate`).

    Args:
        question: The question.
        messages: Its prompt.
        ask: Sends messages to the model.
        repairs: Times the model may be asked again.

    Returns:
        The answer; its notes hold one line for each failed attempt.

    Raises:
        BackendError: From `ask`.
    """
    conversation = list(messages)
    usage = Usage()
    notes: list[str] = []
    verdicts: list[Verdict] = []
    for attempt in range(1, repairs + 2):
        reply = await ask(conversation)
        usage = usage + reply.usage
        if reply.problem:
            # Nothing to quote back: the same messages go out again.
            notes.append(f"attempt {attempt}: {reply.problem}")
            continue
        verdict = check_reply(question.direction, reply.text)
        if not verdict.problem:
            return Answer(verdict.text, "model" if attempt == 1 else "repaired", attempt, usage, tuple(notes))
        verdicts.append(verdict)
        cut = " (cut at the token limit)" if reply.finish_reason == "length" else ""
        notes.append(f"attempt {attempt}: {verdict.problem}{cut}")
        conversation.extend(render_repair(reply.text, verdict.problem, question.direction))
    attempts = repairs + 1
    for verdict in verdicts:
        if verdict.usable:
            return Answer(verdict.text, "candidate", attempts, usage, tuple(notes))
    if question.examples:
        nearest = question.target_of(question.examples[0].pair)
        return Answer(nearest, "neighbour", attempts, usage, tuple(notes))
    return Answer(verdicts[-1].text if verdicts else "", "candidate", attempts, usage, tuple(notes))
