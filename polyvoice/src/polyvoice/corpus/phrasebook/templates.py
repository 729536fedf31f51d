"""Sentence templates: one meaning with slots, and how it is said in each language.

A template is a block of four lines in a file of `domains/`:

    @ tickets_to | n=2..9 c=city
    en: {n} tickets to {c}, please.
    es: {n} boletos a {c}, por favor.
    zh: 请给我{n.counted}张去{c}的票。

`{slot}`, `{slot.form}` and `{slot.form:argument}` are filled by the language's own module, which says what forms there
are.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from polyvoice.corpus.phrasebook.entries import Entry
from polyvoice.corpus.phrasebook.lexicon import read_rows
from polyvoice.errors import InputError

LANGUAGES = ("en", "es", "zh")
"""The order of a block's lines."""

Fillers = Mapping[str, Entry]
"""What each slot of a template is filled with."""

_HEADER = re.compile(r"@ (\w+)(?: \| (.+))?")
_REFERENCE = re.compile(r"\{(\w+)(?:\.(\w+)(?::([^{}]+))?)?\}")


@dataclass(frozen=True, slots=True)
class Reference:
    """A place in a sentence that a filler takes.

    Attributes:
        slot: which filler.
        form: how it is inflected; empty is the plain form.
        argument: what the form depends on: slots, alternatives, or a word to be inflected.
    """

    slot: str
    form: str = ""
    argument: str = ""


@dataclass(frozen=True, slots=True)
class Template:
    """One meaning with slots.

    Attributes:
        name: "domain.name".
        slots: name and category of each slot, in order.
        sentences: parts of the sentence in each language, in the order of `LANGUAGES`.
        where: file and line, for messages.
    """

    name: str
    slots: tuple[tuple[str, str], ...]
    sentences: tuple[tuple[str | Reference, ...], ...]
    where: str

    @property
    def domain(self) -> str:
        """Such as `travel`."""
        return self.name.partition(".")[0]


@cache
def load_templates() -> tuple[Template, ...]:
    """Read all templates, domain by domain in the order of the file names.

    Raises:
        InputError: a block is malformed, or two templates share a name.
    """
    names = sorted(path.name for path in (files(__package__) / "domains").iterdir() if path.name.endswith(".txt"))
    templates = tuple(template for name in names for template in _read_domain(name))
    seen: set[str] = set()
    for template in templates:
        if template.name in seen:
            raise InputError(f"{template.where}: a second template {template.name}")
        seen.add(template.name)
    return templates


def _read_domain(file_name: str) -> Iterator[Template]:
    domain = file_name.removesuffix(".txt")
    rows = list(read_rows("domains", file_name))
    for start in range(0, len(rows), 4):
        where, header = rows[start]
        match = _HEADER.fullmatch(header)
        if match is None or len(rows) < start + 4:
            raise InputError(f"{where}: not the head of a template with its three sentences: {header}")
        slots = tuple(_read_slot(where, slot) for slot in (match[2] or "").split())
        sentences = []
        for language, (line_where, line) in zip(LANGUAGES, rows[start + 1 : start + 4], strict=True):
            if not line.startswith(f"{language}: "):
                raise InputError(f"{line_where}: not the {language} sentence of {match[1]}")
            sentences.append(_read_sentence(line_where, line[4:], {name for name, _ in slots}))
        yield Template(f"{domain}.{match[1]}", slots, tuple(sentences), where)


def _read_slot(where: str, text: str) -> tuple[str, str]:
    name, equals, category = text.partition("=")
    if not equals:
        raise InputError(f"{where}: a slot without category: {text}")
    return name, category


def _read_sentence(where: str, text: str, slots: set[str]) -> tuple[str | Reference, ...]:
    parts: list[str | Reference] = []
    end = 0
    for match in _REFERENCE.finditer(text):
        if match[1] not in slots:
            raise InputError(f"{where}: no slot is called {match[1]}")
        if match.start() > end:
            parts.append(text[end : match.start()])
        parts.append(Reference(match[1], match[2] or "", match[3] or ""))
        end = match.end()
    parts.append(text[end:])
    if any(brace in part for part in parts if isinstance(part, str) for brace in "{}"):
        raise InputError(f"{where}: a brace that is not part of a reference")
    return tuple(parts)


def fill(sentence: tuple[str | Reference, ...], fillers: Fillers, inflect: Callable[[Reference, Fillers], str]) -> str:
    """Return the sentence with every reference replaced by its filler's form, not yet tidied."""
    return "".join(
        part if isinstance(part, str) else _inflect_once(inflect, part, fillers[part.slot], fillers.get(part.argument))
        for part in sentence
    )


@cache
def _inflect_once(
    inflect: Callable[[Reference, Fillers], str], reference: Reference, entry: Entry, other: Entry | None
) -> str:
    """Inflect with the filler and the one that its form depends on: few such pairs make very many sentences."""
    return inflect(reference, {reference.slot: entry} | ({} if other is None else {reference.argument: other}))


def unknown_form(reference: Reference, entry: Entry) -> InputError:
    """Return the error for a form that this kind of filler does not have."""
    return InputError(f"{type(entry).__name__.lower()} {entry.key} has no form {reference.form or '(plain)'}")
