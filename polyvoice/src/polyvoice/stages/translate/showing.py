"""What the translation model reads and writes, token by token, for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polyvoice.spoken import SpokenPair
from polyvoice.stages.translate.data import EXERCISES, can_write, complete
from polyvoice.tasks import UNITS, Direction
from speechunits.runs import Units
from unitlm.vocabulary import Vocabulary


@dataclass(frozen=True)
class ShownTask:
    """A task line, filled in.

    Attributes:
        line: the line.
        tokens: as people read them: `<begin>`, a word, `<units>`, or `units:17`.
        learned: for each token, whether the model writes it.
    """

    line: str
    tokens: tuple[str, ...]
    learned: tuple[bool, ...]

    def __str__(self) -> str:
        return " ".join(
            f"{token}*" if is_learned else token for token, is_learned in zip(self.tokens, self.learned, strict=True)
        )


def show_pair(pair: SpokenPair, vocabulary: Vocabulary) -> list[ShownTask]:
    """Every task that a pair can show, as the model is trained on it.

    Raises:
        InputError: the pair's languages cannot be written in the vocabulary.
    """
    way = Direction(pair.source.language, pair.target.language)
    shown = []
    for exercise in EXERCISES:
        task, values = exercise.task(way), complete(exercise.read(pair))
        if values is not None and can_write(task, vocabulary):
            compiled = task.compile(values, vocabulary)
            shown.append(ShownTask(task.line, _describe(compiled.ids, vocabulary), compiled.loss_mask))
    return shown


def show_prompts(units: Units, way: Direction, vocabulary: Vocabulary) -> list[ShownTask]:
    """Every task that begins with speech, up to where the model takes over."""
    shown = []
    for exercise in EXERCISES:
        task = exercise.task(way)
        given = task.slots[0]
        if given.alphabet == UNITS and can_write(task, vocabulary):
            ids = task.prompt({given.name: units.tolist()}, vocabulary).ids
            shown.append(ShownTask(task.line, _describe(ids, vocabulary), (False,) * len(ids)))
    return shown


def _describe(ids: Sequence[int], vocabulary: Vocabulary) -> tuple[str, ...]:
    return tuple(map(vocabulary.describe, ids))
