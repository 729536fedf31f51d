"""Captions by the model that ships with molregpt: neighbours' captions as drafts, beside writing every piece by itself.

Molecules are those of the pool, each of which is left out when its neighbours are looked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial

import numpy as np

from bench.pairs import run_pairs
from bench.rows import Task
from bench.suite import Case, Measured, Options, run_script
from molregpt.asking import find_neighbours
from molregpt.database import open_database
from molregpt.local.model import Reading, find_model, load_local_model
from molregpt.records import Question
from molregpt.retrieval.options import RetrievalOptions
from unitlm.language_model import Precision, pack_decoder

COUNTS = (8, 24, 48)
QUICK_COUNTS = (2, 3, 4)
NEIGHBOURS = 5
PEER = "unitlm without drafts"


def list_cases(options: Options) -> Iterator[Case]:
    """So many captions, with weights of both kinds."""
    for count in QUICK_COUNTS if options.quick else COUNTS:
        for precision in ("fp32", "int8"):
            what = f"captions of molecules with those of neighbours as drafts, {precision}"
            target = 2.5 if count == COUNTS[-1] else None
            task = Task(f"drafts-captions-{precision}", what, PEER, count, "captions", "caption", target)
            yield Case(task, partial(measure, count, precision, options))


def measure(count: int, precision: Precision, options: Options) -> Measured:
    """The greedy answers to questions that have been read."""
    model = load_local_model(find_model("local"))
    model.packed = pack_decoder(model.decoder, precision)
    read = [(model.open(question), drafts) for question, drafts in ask(count)]

    def write(reading: Reading, drafts: list[str]) -> str:
        return model.text(reading.prompt, model.write(reading, drafts))

    compared = run_pairs(
        lambda: [write(reading, drafts) for reading, drafts in read],
        lambda: [write(reading, []) for reading, _ in read],
        turns=options.turns,
        work=count,
        clock=options.clock,
    )
    return Measured(compared.pairs, compared.ours == compared.theirs, "", ("molregpt", "unitlm"))


@lru_cache(maxsize=3)
def ask(count: int) -> list[tuple[Question, list[str]]]:
    """Questions spread evenly over the pool, and the captions of their neighbours."""
    options = RetrievalOptions(exclude_self=True)
    pool = open_database(options.pool)
    questions = []
    for row in np.linspace(0, len(pool.pairs) - 1, count).astype(int):
        smiles = pool.pairs[row].smiles
        found = find_neighbours("mol2cap", smiles, NEIGHBOURS, options, pool)
        question = Question("mol2cap", smiles, found.examples)
        questions.append((question, [example.pair.caption for example in found.examples]))
    return questions


if __name__ == "__main__":
    run_script(__doc__ or "", list_cases)
