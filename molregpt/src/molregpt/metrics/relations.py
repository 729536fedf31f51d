"""Relations that captions state, in the manner of ChEBI: which are right, and which are missing.

Most sentences of a ChEBI-20 caption spell out relations of ChEBI's ontology (Hastings et al., Nucleic Acids Research
44, 2016, D1214): "It has a role as a human metabolite and a pheromone. It is a member of phenols and a diol." Read back
as relations, they can be counted, where n-gram scores mostly count the words around them. Of the 10,502 sentences of
ChEBI-20's 3,301 validation captions, 9,339 are read so, and all but 12 captions have one; most of the others are free
text ("It is isolated from ...") or define a salt or an ion by another molecule.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from molregpt.metrics.statistics import DEFAULT_RESAMPLING, Floats, Resampling, Score, score_sums

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence, Set

RelationKind = Literal[
    "is a",
    "has role",
    "has part",
    "derives from",
    "derives from a hydride of",
    "conjugate acid of",
    "conjugate base of",
    "enantiomer of",
    "tautomer of",
]

RELATION_KINDS: tuple[RelationKind, ...] = get_args(RelationKind)

# PubChem words ChEBI's "has functional parent" as "derives from" in older captions and as "is functionally related to"
# in newer ones. The longer beginning stands before the one it begins with.
_BEGINNINGS: tuple[tuple[str, RelationKind], ...] = (
    ("It derives from a hydride of ", "derives from a hydride of"),
    ("It derives from ", "derives from"),
    ("It is functionally related to ", "derives from"),
    ("It has a role as ", "has role"),
    ("It has role as ", "has role"),
    ("It is a conjugate acid of ", "conjugate acid of"),
    ("It is a conjugate base of ", "conjugate base of"),
    ("It is an enantiomer of ", "enantiomer of"),
    ("It is a tautomer of ", "tautomer of"),
    ("It contains ", "has part"),
    ("It is ", "is a"),
)
_FIRST = "The molecule is "
# Free text begins in the same words ("It contains four chlorine atoms"), but then lacks the article.
_NEED_ARTICLE: frozenset[RelationKind] = frozenset({"is a", "has part"})

# A few captions lack the full stop before a relation.
_SENTENCE_END = re.compile(r"(?<=[.;]) +(?=[A-Z])| +(?=It (?:is an? |has a role as |derives from ))")
_ARTICLE = re.compile(r"an? ")
_NEXT_ITEM = re.compile(r"(?:,| and|, and) (?=an? )")
_MEMBER = re.compile(r"member of (?:the )?(?:class (?:of )?)?")
_OPENING, _CLOSING = "([{", ")]}"

# Words that end the noun phrase of a definition: "a diol that ...", "an ester obtained by ...".
_CLAUSE = re.compile(
    r"[;:] |,? (?:that|which|in which|where|wherein|whose|having|with|obtained|derived|consisting|comprising|composed"
    r"|comprised|resulting|arising|formed|isolated|carrying|bearing|containing|substituted|used|found|produced|made|from"
    r"|by|for|in|on|at|to|as|is|has|being|possessing|linked|attached|acting|known|exhibiting|featuring|showing"
    r"|characterized|corresponding|connected|joined|sometimes|also) "
)
# A noun phrase with one of these is a sentence's beginning rather than the name of a class.
_NOT_A_CLASS = re.compile(r"[,;:] |-$|- | (?:of|and|or) ")


@dataclass(frozen=True, slots=True)
class Relation:
    """One relation that a caption states of its molecule.

    Attributes:
        kind: The relation.
        target: To what, without its article; "a member of phenols" is `phenol`.
    """

    kind: RelationKind
    target: str


@dataclass(frozen=True, slots=True)
class StatedList:
    """A sentence that states relations of one kind, such as "It has a role as a human metabolite and a pheromone".

    Attributes:
        kind: The relation.
        beginning: What comes before the first item.
        items: To what, with their articles; one at least.
    """

    kind: RelationKind
    beginning: str
    items: tuple[str, ...]

    def __str__(self) -> str:
        """The sentence."""
        *before, last = self.items
        listed = f"{', '.join(before)} and {last}" if before else last
        return f"{self.beginning}{listed}."


@dataclass(frozen=True, slots=True)
class RelationCount:
    """Relations of one kind in one row or a corpus.

    Attributes:
        right: Relations that the prediction and the reference both state.
        predicted: Relations that the prediction states.
        expected: Relations that the reference states.
    """

    right: int
    predicted: int
    expected: int

    @property
    def precision(self) -> float | None:
        """The share of the stated relations that are right; None when none is stated."""
        return self.right / self.predicted if self.predicted else None

    @property
    def recall(self) -> float | None:
        """The share of the reference's relations that are stated; None when it has none."""
        return self.right / self.expected if self.expected else None

    @property
    def f1(self) -> float | None:
        """The harmonic mean of both; None when neither side states a relation."""
        total = self.predicted + self.expected
        return 2 * self.right / total if total else None


@dataclass(frozen=True, slots=True)
class RelationScore:
    """Scores of a corpus, with sums over its relations, not means over its rows.

    Attributes:
        precision: The share of the stated relations that are right.
        recall: The share of the references' relations that are stated.
        f1: The harmonic mean of both.
        total: The sums.
    """

    precision: Score
    recall: Score
    f1: Score
    total: RelationCount

    def as_json(self) -> dict[str, object]:
        """The scores and sums by their names."""
        return {
            "precision": self.precision.as_json(),
            "recall": self.recall.as_json(),
            "f1": self.f1.as_json(),
            "right": self.total.right,
            "predicted": self.total.predicted,
            "expected": self.total.expected,
        }


@dataclass(frozen=True, slots=True)
class RelationScores:
    """Scores of a corpus and of each kind of relation in it.

    Attributes:
        all: Every relation.
        kinds: The relations of one kind; kinds that neither side states are left out. `n` is the number of rows where
            one side states the kind.
        rows: The counts of each row.
    """

    all: RelationScore
    kinds: Mapping[RelationKind, RelationScore]
    rows: tuple[RelationCount, ...]


def parse_relations(caption: str) -> frozenset[Relation]:
    """The relations that a caption states.

    Sentences that begin as ChEBI's do are read; of the first sentence, the noun phrase that says what the molecule is.
    What is not surely a relation is left out: better a reference with a relation less than one that nobody can match.
    """
    return frozenset(relation for sentence in split_sentences(caption) for relation in parse_sentence(sentence))


def split_sentences(caption: str) -> list[str]:
    """The sentences of a caption; a full stop ends one only before a capital letter, so that "E. coli" does not."""
    return [sentence for sentence in _SENTENCE_END.split(" ".join(caption.split())) if sentence]


def parse_sentence(sentence: str) -> tuple[Relation, ...]:
    """The relations that one sentence states; none when it is free text."""
    sentence = sentence.rstrip(" .;")
    if sentence.startswith(_FIRST):
        return _parse_definition(sentence.removeprefix(_FIRST))
    for beginning, kind in _BEGINNINGS:
        if sentence.startswith(beginning):
            return _read_items(kind, sentence.removeprefix(beginning).partition("; ")[0])
    return ()


def read_list(sentence: str) -> StatedList | None:
    """A sentence that lists relations and nothing else, taken apart; None for any other, also for definitions."""
    for beginning, kind in _BEGINNINGS:
        if sentence.startswith(beginning):
            stated = StatedList(
                kind, beginning, tuple(_split_items(sentence.removeprefix(beginning).removesuffix(".")))
            )
            whole = str(stated) == sentence and "; " not in sentence
            return stated if whole and parse_sentence(sentence) else None
    return None


def score_relations(
    predictions: Sequence[str], references: Sequence[str], *, resampling: Resampling = DEFAULT_RESAMPLING
) -> RelationScores:
    """Compare the relations of captions with those of their references, one each; there is at least one row."""
    predicted, expected = ([parse_relations(text) for text in texts] for texts in (predictions, references))
    rows = [_count_row(p, e) for p, e in zip(predicted, expected, strict=True)]
    kinds = {}
    for kind in RELATION_KINDS:
        narrowed = [
            _count_row({r for r in p if r.kind == kind}, {r for r in e if r.kind == kind})
            for p, e in zip(predicted, expected, strict=True)
        ]
        if stated := [count for count in narrowed if count.predicted or count.expected]:
            kinds[kind] = _score_counts(stated, resampling)
    return RelationScores(_score_counts(rows, resampling), kinds, tuple(rows))


def _parse_definition(text: str) -> tuple[Relation, ...]:
    """What "The molecule is ..." says that it is, where that is a class with an article: no "the hydrochloride of"."""
    if listed := _read_items("is a", text):
        return listed
    end = _CLAUSE.search(text)
    return _read_items("is a", text[: end.start()]) if end else ()


def _split_items(text: str) -> Iterator[str]:
    """Cut "a X, a Y and a Z" before the articles.

    Commas and "and" inside names ("2,3-dihydroxy", "acid and alcohol") have no article after them; those inside
    brackets are left alone in any case.
    """
    start = 0
    for match in _NEXT_ITEM.finditer(text):
        before = text[: match.start()]
        if sum(map(before.count, _OPENING)) == sum(map(before.count, _CLOSING)):
            yield text[start : match.start()]
            start = match.end()
    yield text[start:]


def _read_items(kind: RelationKind, text: str) -> tuple[Relation, ...]:
    """All items of a list; none when one cannot be read, for then the sentence is no list of relations at all."""
    items = list(_split_items(text))
    relations = [relation for item in items if (relation := _read_item(kind, item)) is not None]
    return tuple(relations) if len(relations) == len(items) else ()


def _read_item(kind: RelationKind, item: str) -> Relation | None:
    article = _ARTICLE.match(item)
    target = item[article.end() :] if article else item
    if not target or target.startswith("the ") or (article is None and kind in _NEED_ARTICLE):
        return None
    if kind == "is a":
        member = _MEMBER.match(target)
        target = _make_singular(target[member.end() :]) if member else target
        if _NOT_A_CLASS.search(target) or _CLAUSE.search(target + " "):
            return None
    return Relation(kind, target)


def _make_singular(noun: str) -> str:
    """The singular of a class's plural name, such as "phenols", where it takes no more than dropping the s."""
    return noun[:-1] if noun.endswith("s") and not noun.endswith(("ss", "us", "is", "ies", "xes")) else noun


def _count_row(predicted: Set[Relation], expected: Set[Relation]) -> RelationCount:
    return RelationCount(len(predicted & expected), len(predicted), len(expected))


def _score_counts(counts: Sequence[RelationCount], resampling: Resampling) -> RelationScore:
    sums = np.array([(count.right, count.predicted, count.expected) for count in counts], dtype=np.float64)
    precision, recall, f1 = score_sums(sums, _ratios, [len(counts)] * 3, resampling)
    right, predicted, expected = (int(total) for total in sums.sum(axis=0))
    return RelationScore(precision, recall, f1, RelationCount(right, predicted, expected))


def _ratios(sums: Floats) -> Floats:
    """Precision, recall and F1, `[..., 3]`, from sums of right, predicted and expected; 0 where nothing is counted."""
    right, predicted, expected = sums[..., 0], sums[..., 1], sums[..., 2]
    whole = np.stack([predicted, expected, (predicted + expected) / 2], axis=-1)
    # Where a whole is not 0 it is at least 0.5, and where it is 0 so is `right`.
    return right[..., None] / np.maximum(whole, 0.5)
