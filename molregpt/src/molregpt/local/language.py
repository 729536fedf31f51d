"""What the local model reads and writes: its task lines and its vocabulary."""

from __future__ import annotations

from collections.abc import Iterable

from molregpt.records import Direction
from unitlm.alphabet import Content, Pieces
from unitlm.task import Task
from unitlm.vocabulary import Vocabulary

TASKS: dict[Direction, Task] = {
    "mol2cap": Task.parse("describe {molecule:smiles} named {name:text} as {caption:text!}"),
    "cap2mol": Task.parse("draw {caption:text} as {molecule:smiles!}"),
}
ANSWERS: dict[Direction, str] = {
    direction: next(slot.alphabet for slot in task.slots if slot.generated) for direction, task in TASKS.items()
}
"""What each direction's answers are written in."""

SPELL = Task.parse("spell {name:text} as {molecule:smiles!}")
REWRITE = Task.parse("rewrite {other:smiles} as {molecule:smiles!}")
COUNT = Task.parse("count {molecule:smiles} as {facts:text!}")
ALL_TASKS = (*TASKS.values(), SPELL, REWRITE, COUNT)

# Pieces span words: "It has a role as a" is one, as is a phenyl ring. On the 8,612 shipped pairs a description takes 44
# pieces instead of 75 within words, a molecule 16 instead of 62 atoms and bonds, and training time goes with them.
TEXT_PIECES = 4096
SMILES_PIECES = 512


def build_vocabulary(captions: Iterable[str], smiles: Iterable[str]) -> Vocabulary:
    """Learn the pieces of descriptions and of SMILES, and lay them out with the words of the task lines."""
    text = Pieces.train("text", captions, TEXT_PIECES, across_words=True)
    molecules = Pieces.train("smiles", smiles, SMILES_PIECES, across_words=True)
    return Vocabulary.build([text, molecules], ALL_TASKS)


def fill_slots(direction: Direction, smiles: str, caption: str, name: str) -> dict[str, Content]:
    """What fills all slots of a task line.

    Args:
        direction: Which line.
        smiles: The molecule.
        caption: Its description.
        name: The molecule's systematic name, empty where it has none: position numbers and chain lengths in words,
            which descriptions repeat and SMILES only imply. Only descriptions are made from it.
    """
    slots: dict[str, Content] = {"molecule": smiles, "caption": caption}
    return slots | {"name": name} if direction == "mol2cap" else slots
