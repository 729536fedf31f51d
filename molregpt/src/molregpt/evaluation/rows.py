"""One evaluated row, and how it is written as a line of `rows.jsonl`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from molregpt.records import Answer, Usage


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A retrieved example as a row remembers it: the pool's key and the strategy's own similarity."""

    key: str
    similarity: float


@dataclass(frozen=True, slots=True)
class EvaluatedRow:
    """A question of the test table with everything that was said to it.

    Attributes:
        position: The row's place in the test table, from 0.
        key: The row's identifier.
        query: What was asked: a SMILES or a description.
        reference: The table's own answer.
        answer: The back end's answer.
        baseline: What copying the nearest neighbour would have said.
        similarity: How near that neighbour is (Dice of Morgan fingerprints, or BM25).
        neighbours: The examples that were shown, the most similar first.
    """

    position: int
    key: str
    query: str
    reference: str
    answer: Answer
    baseline: str
    similarity: float
    neighbours: tuple[Neighbour, ...]

    def to_json(self) -> str:
        """The row as one line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> EvaluatedRow:
        """The row of a line that `to_json` wrote; scores added to the line since are ignored.

        Raises:
            ValueError: The line is not such a row.
        """
        try:
            cells = json.loads(line)
            answer = cells["answer"]
            usage = Usage(**answer.pop("usage"))
            notes = tuple(answer.pop("notes"))
            return cls(
                answer=replace(Answer(**answer), usage=usage, notes=notes),
                neighbours=tuple(Neighbour(**near) for near in cells["neighbours"]),
                **{name: cells[name] for name in ("position", "key", "query", "reference", "baseline", "similarity")},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not an evaluated row: {error}") from error
