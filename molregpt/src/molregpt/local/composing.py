"""The caption that agrees best with all candidates, put together of their sentences and of what those list.

No candidate need be right in all that it says. Each says a few things of the molecule, in sentences and lists that can
stand without each other; what many say is likelier than what one says. So captions are searched for by small changes,
of sentences and of items, of the one that agrees best with the others as it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from molregpt.metrics.relations import RELATION_KINDS, StatedList, read_list, split_sentences
from molregpt.relevance.agreement import Agreement

_DEFINITION, _FREE = "definition", "free"
_ORDER = (
    _DEFINITION,
    "has role",
    "is a",
    *(kind for kind in RELATION_KINDS if kind not in ("has role", "is a")),
    _FREE,
)
"""In which ChEBI's captions say things."""

_ROUNDS = 12
_SENTENCES, _ITEMS = 8, 8
"""The most that are tried, those with most votes, of a kind in each place."""

_LEAST_GAIN = 1e-4


@dataclass(frozen=True, slots=True)
class _Part:
    """A sentence: what it lists, or all that it says."""

    kind: str
    content: StatedList | str

    def __str__(self) -> str:
        return str(self.content)


_Parts = tuple[_Part, ...]


def compose(votes: Mapping[str, float]) -> str:
    """Put together the caption that agrees best with captions that have so many votes each; there is one at least."""
    agreement, known = Agreement(votes), _Known(votes)
    texts = list(votes)
    values = agreement.measure(texts)
    best = _read(texts[int(values.argmax())])
    value = float(values.max())
    for _ in range(_ROUNDS):
        changed = list(known.change(best))
        if not changed:
            break
        values = agreement.measure([_write(parts) for parts in changed])
        if values.max() <= value + _LEAST_GAIN:
            break
        best, value = changed[int(values.argmax())], float(values.max())
    return _write(best)


def _read(caption: str) -> _Parts:
    parts: list[_Part] = []
    for sentence in split_sentences(caption):
        listed = read_list(sentence)
        kind = listed.kind if listed else _DEFINITION if not parts else _FREE
        parts.append(_Part(kind, listed or sentence))
    return tuple(parts)


def _write(parts: _Parts) -> str:
    """The caption; a sentence that lacks its full stop gets one before the next."""
    *before, last = map(str, parts) if parts else [""]
    return " ".join([*(one if one.endswith((".", ";")) else f"{one}." for one in before), last])


class _Known:
    """Sentences of each kind and what they list, those with most votes first."""

    def __init__(self, votes: Mapping[str, float]) -> None:
        parts: dict[str, dict[_Part, float]] = defaultdict(lambda: defaultdict(float))
        items: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for text, share in votes.items():
            for part in _read(text):
                parts[part.kind][part] += share
                if isinstance(part.content, StatedList):
                    for item in part.content.items:
                        items[part.kind][item] += share
        self._parts = {kind: sorted(of, key=of.__getitem__, reverse=True)[:_SENTENCES] for kind, of in parts.items()}
        self._items = {kind: sorted(of, key=of.__getitem__, reverse=True)[:_ITEMS] for kind, of in items.items()}

    def change(self, parts: _Parts) -> Iterator[_Parts]:
        """Captions that differ in one sentence or in one item of a list."""
        for place, part in enumerate(parts):
            before, behind = parts[:place], parts[place + 1 :]
            if before or behind:
                yield before + behind
            others = [other for other in self._parts[part.kind] if other not in parts]
            for other in (*others, *self._change_list(part)):
                yield (*before, other, *behind)
        said = {part.kind for part in parts}
        for kind, known in self._parts.items():
            if kind in said and kind != _FREE:
                continue
            place = sum(_ORDER.index(part.kind) <= _ORDER.index(kind) for part in parts)
            for part in known:
                if part not in parts:
                    yield (*parts[:place], part, *parts[place:])

    def _change_list(self, part: _Part) -> Iterator[_Part]:
        """The same sentence with one item less, one more, or another one."""
        stated = part.content
        if not isinstance(stated, StatedList):
            return
        items = stated.items
        new = [item for item in self._items[part.kind] if item not in items]
        changed = [items[:place] + items[place + 1 :] for place in range(len(items)) if len(items) > 1]
        for item in new:
            changed += [(*items[:place], item, *items[place:]) for place in range(len(items) + 1)]
            changed += [(*items[:place], item, *items[place + 1 :]) for place in range(len(items))]
        for one in changed:
            content = replace(stated, items=one)
            if read_list(str(content)) == content:  # an item without an article would run into the one before it
                yield replace(part, content=content)
