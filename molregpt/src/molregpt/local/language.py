"""What the local model reads and writes: its task lines and its vocabulary."""

from __future__ import annotations

from collections.abc import Iterable

from molregpt.records import Direction, Pair
from unitlm.alphabet import Content, Pieces
from unitlm.task import Task
from unitlm.vocabulary import Vocabulary

TASKS: dict[Direction, Task] = {
    "mol2cap": Task.parse("describe {molecule:smiles} as {caption:text!}"),
    "cap2mol": Task.parse("draw {caption:text} as {molecule:smiles!}"),
}
NAME = Task.parse("name {molecule:smiles} as {name:text!}")
SPELL = Task.parse("spell {name:text} as {molecule:smiles!}")
REWRITE = Task.parse("rewrite {other:smiles} as {molecule:smiles!}")
COUNT = Task.parse("count {molecule:smiles} as {facts:text!}")
ALL_TASKS = (*TASKS.values(), NAME, SPELL, REWRITE, COUNT)

# Pieces span words: "It has a role as a" is one, as is a phenyl ring. On the 8,612 shipped pairs a description takes 44
# pieces instead of 75 within words, a molecule 16 instead of 62 atoms and bonds, and training time goes with them.
TEXT_PIECES = 4096
SMILES_PIECES = 512


def build_vocabulary(captions: Iterable[str], smiles: Iterable[str]) -> Vocabulary:
    """Learn the pieces of descriptions and of SMILES, and lay them out with the words of the task lines."""
    text = Pieces.train("text", captions, TEXT_PIECES, across_words=True)
    molecules = Pieces.train("smiles", smiles, SMILES_PIECES, across_words=True)
    return Vocabulary.build([text, molecules], ALL_TASKS)


def slots_of(pair: Pair) -> dict[str, Content]:
    """A pair as the content of a task line's slots; both directions name them alike."""
    return {"molecule": pair.smiles, "caption": pair.caption}
