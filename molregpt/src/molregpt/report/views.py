"""What the templates show: rows and scores made ready for reading.

Text is escaped by the templates; pictures, which are ours, are not.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from molregpt.drawing import draw_molecule
from molregpt.records import Example

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Set

    from molregpt.evaluation.results import Evaluation
    from molregpt.evaluation.rows import EvaluatedRow
    from molregpt.records import Direction, Pair

LABELS: Mapping[str, str] = {
    "bleu2": "BLEU-2",
    "bleu4": "BLEU-4",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "meteor": "METEOR",
    "relation_precision": "Relations that are right",
    "relation_recall": "Relations that are found",
    "relation_f1": "Relations, F1 of both",
    "bleu": "BLEU (characters)",
    "exact": "Exact match",
    "levenshtein": "Levenshtein distance",
    "maccs": "MACCS similarity",
    "rdk": "RDKit path similarity",
    "morgan": "Morgan similarity",
    "validity": "Valid SMILES",
}

TITLES: Mapping[Direction, str] = {"mol2cap": "Molecules described", "cap2mol": "Molecules proposed"}

_LOWER_IS_BETTER = frozenset({"levenshtein"})
_CHIPS: Mapping[Direction, tuple[str, ...]] = {"mol2cap": ("rougeL", "meteor"), "cap2mol": ("morgan", "maccs")}
_SHORTEST_SHARED = 3


@dataclass(frozen=True, slots=True)
class Fact:
    """A name and its value."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class MetricView:
    """A line of the score table; percents are the lengths of its bars."""

    label: str
    value: str
    interval: str
    baseline: str
    count: str
    percent: float
    baseline_percent: float
    lower_is_better: bool


@dataclass(frozen=True, slots=True)
class MoleculeView:
    """A picture, or why there is none."""

    svg: Markup | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class NeighbourView:
    """A retrieved pair; `percent` is its similarity beside the nearest one's, or on its own scale of 0 to 1.

    `compared` is the caption, cut up by the words of the question.
    """

    key: str
    caption: str
    similarity: str
    percent: float
    molecule: MoleculeView
    compared: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Chip:
    """A small mark beside a row's title."""

    name: str
    value: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of an answer, and whether the reference says it too."""

    text: str
    shared: bool


@dataclass(frozen=True, slots=True)
class SampleView:
    """One row with its pictures. The molecules that a direction does not show are None."""

    direction: Direction
    number: str
    key: str
    chips: tuple[Chip, ...]
    query: str
    answer: str
    reference: str
    compared: tuple[Piece, ...]
    query_molecule: MoleculeView | None
    answer_molecule: MoleculeView | None
    reference_molecule: MoleculeView | None
    neighbours: tuple[NeighbourView, ...]


def view_metrics(evaluation: Evaluation) -> list[MetricView]:
    """The score table of an evaluation."""
    baseline = evaluation.baseline.metrics()
    lines = []
    for name, score in evaluation.scores.metrics().items():
        copied = baseline[name].value
        # Shares fill their bar at 1; a distance has no end, so the larger of the two fills it.
        full = max(score.value, copied, 1e-9) if name in _LOWER_IS_BETTER else 1.0
        digits = 1 if name in _LOWER_IS_BETTER else 3
        lines.append(
            MetricView(
                label=LABELS[name],
                value=f"{score.value:.{digits}f}",
                interval=f"{score.low:.{digits}f} – {score.high:.{digits}f}",
                baseline=f"{copied:.{digits}f}",
                count=f"{score.n:,}",
                percent=round(100 * score.value / full, 1),
                baseline_percent=round(100 * copied / full, 1),
                lower_is_better=name in _LOWER_IS_BETTER,
            )
        )
    return lines


def view_row(evaluation: Evaluation, position: int, pool: Mapping[str, Pair], *, neighbours: int = 4) -> SampleView:
    """One row of an evaluation.

    Args:
        evaluation: The run.
        position: The row's place in it.
        pool: The pairs that were searched, by key.
        neighbours: Most neighbours to draw.
    """
    row = evaluation.rows[position]
    direction = evaluation.settings.direction
    described = direction == "mol2cap"
    return SampleView(
        direction=direction,
        number=f"{row.position + 1}",
        key=row.key,
        chips=_view_chips(evaluation, position),
        query=row.query,
        answer=row.answer.text,
        reference=row.reference,
        compared=tuple(compare_texts(row.answer.text, row.reference)) if described else (),
        query_molecule=view_molecule(row.query, width=288, height=220) if described else None,
        answer_molecule=None if described else view_molecule(row.answer.text, like=row.reference, **_LARGE),
        reference_molecule=None if described else view_molecule(row.reference, like=row.answer.text, **_LARGE),
        neighbours=tuple(_view_neighbours(row, direction, pool, neighbours)),
    )


_LARGE = {"width": 480, "height": 260}


def view_molecule(smiles: str, *, width: int = 230, height: int = 160, like: str | None = None) -> MoleculeView:
    """The picture of a molecule, with the surroundings that `like` has too marked."""
    svg = draw_molecule(smiles, width=width, height=height, like=like)
    if svg is None:
        return MoleculeView(None, "not a molecule that RDKit can read")
    # draw_molecule escapes the one text it takes over from its input.
    return MoleculeView(Markup(svg))  # noqa: S704


def compare_texts(answer: str, reference: str) -> list[Piece]:
    """Cut an answer into stretches that the reference says as well, in the same order, and the rest.

    Returns:
        Pieces that, joined, are the answer; a shared one holds at least three words.
    """
    spans = [(match.start(), match.end()) for match in re.finditer(r"\S+", answer)]
    words = [answer[start:end] for start, end in spans]
    pieces: list[Piece] = []
    done = 0
    for block in difflib.SequenceMatcher(None, words, reference.split(), autojunk=False).get_matching_blocks():
        # A lone "a" or "of the" in common says nothing.
        if block.size < _SHORTEST_SHARED:
            continue
        start, end = spans[block.a][0], spans[block.a + block.size - 1][1]
        if start > done:
            pieces.append(Piece(answer[done:start], shared=False))
        pieces.append(Piece(answer[start:end], shared=True))
        done = end
    if done < len(answer):
        pieces.append(Piece(answer[done:], shared=False))
    return pieces


def mark_words(text: str, words: Set[str]) -> list[Piece]:
    """Cut a text into words that hold one of the tokens by which BM25 finds descriptions, and the rest.

    Returns:
        Pieces that, joined, are the text.
    """
    if not words:
        return [Piece(text, shared=False)]
    from molindex.tokenization import tokenize

    pieces: list[Piece] = []
    for word in re.findall(r"\s+|\S+", text):
        shared = not word.isspace() and not words.isdisjoint(tokenize(word, "chemistry"))
        if pieces and pieces[-1].shared == shared:
            pieces[-1] = Piece(pieces[-1].text + word, shared)
        else:
            pieces.append(Piece(word, shared))
    return pieces


def _view_chips(evaluation: Evaluation, position: int) -> tuple[Chip, ...]:
    row = evaluation.rows[position]
    scores = evaluation.scores.rows[position].as_json()
    chips = []
    if scores.get("exact"):
        chips.append(Chip("exact match", kind="strong"))
    if scores.get("validity") is False:
        chips.append(Chip("not a molecule", kind="failed"))
    for name in _CHIPS[evaluation.settings.direction]:
        value = scores[name]
        if value is not None:
            chips.append(Chip(LABELS[name], f"{value:.2f}"))
    if row.answer.origin != "neighbour" or evaluation.settings.backend != "neighbour":
        chips.append(Chip(row.answer.origin, kind="failed" if row.answer.origin == "neighbour" else ""))
    return tuple(chips)


def _view_neighbours(
    row: EvaluatedRow, direction: Direction, pool: Mapping[str, Pair], most: int
) -> list[NeighbourView]:
    shown = [Example(pool[near.key], near.similarity) for near in row.neighbours[:most]]
    return view_neighbours(shown, direction, like=row.query if direction == "mol2cap" else row.reference)


def view_neighbours(
    examples: Sequence[Example], direction: Direction, *, like: str, words: Set[str] = frozenset()
) -> list[NeighbourView]:
    """Retrieved pairs with their pictures.

    Args:
        examples: The most similar first.
        direction: What they were retrieved for.
        like: The molecule that they are compared with.
        words: Tokens to mark in their descriptions; see `mark_words`.
    """
    # Dice and Tanimoto end at 1; BM25 has no end, so the nearest fills the bar.
    full = max([near.similarity for near in examples] + ([1.0] if direction == "mol2cap" else [1e-9]))
    return [
        NeighbourView(
            key=near.pair.key,
            caption=near.pair.caption,
            similarity=f"{near.similarity:.2f}",
            percent=round(100 * max(near.similarity, 0.0) / full, 1),
            molecule=view_molecule(near.pair.smiles, like=like),
            compared=tuple(mark_words(near.pair.caption, words)),
        )
        for near in examples
    ]


def view_provenance(evaluation: Evaluation) -> list[Fact]:
    """Everything that the figures depend on."""
    settings = evaluation.settings
    facts = [
        Fact("back end", settings.backend),
        Fact("retrieval", settings.retrieval),
        Fact("examples shown", str(settings.shots)),
        Fact("test table", settings.test),
        Fact("pool", settings.pool),
    ]
    return facts + [Fact(name, value) for name, value in evaluation.versions().items()]
