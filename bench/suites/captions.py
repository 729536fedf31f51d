"""The ten captions nearest to a question by BM25, beside bm25s and rank_bm25.

The captions are those that ship with molregpt, over and over; so the collection grows and its words do not, which is
the harder case: every word's list grows in step. All sides get the same tokens (text cut at white space).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import cycle, islice

import numpy as np
from numpy.typing import NDArray

from bench.pairs import run_pairs
from bench.rows import Task
from bench.suite import CannotMeasure, Case, Measured, Options, run_script
from molindex.captions import CaptionIndex, Formula
from molregpt.data.shipped import shipped_pairs

K = 10
SIZES = (10_000, 100_000, 1_000_000)
QUICK_SIZES = (2_000, 10_000, 50_000)
QUERIES = 50
# It scores every caption in Python for every word: minutes at a million.
SLOW_QUERIES = 3
LARGEST_SLOW = 100_000


@dataclass(frozen=True)
class Collection:
    """Captions, our index of them, and questions."""

    captions: Sequence[str]
    index: CaptionIndex
    questions: Sequence[str]


def list_cases(options: Options) -> Iterator[Case]:
    """All sizes, each beside both."""
    what = "the 10 nearest captions by BM25, one question at a time, one thread"
    for size in QUICK_SIZES if options.quick else SIZES:
        for peer, measure, target in (("bm25s", beside_bm25s, 1.0), ("rank_bm25", beside_rank_bm25, None)):
            task = Task("captions", what, peer, size, "captions", "query", target if size == SIZES[-1] else None)
            yield Case(task, partial(measure, size, options))


@lru_cache(maxsize=1)
def read_captions() -> tuple[str, ...]:
    """The captions that ship with molregpt."""
    return tuple(pair.caption for pair in shipped_pairs())


@lru_cache(maxsize=1)
def prepare(size: int, formula: Formula) -> Collection:
    """Tile the captions, index them, pick questions evenly from the first round."""
    captions = list(islice(cycle(read_captions()), size))
    keyed = ((str(row), text) for row, text in enumerate(captions))
    index = CaptionIndex.build(keyed, "whitespace", formula=formula)
    last = min(size, len(read_captions())) - 1
    return Collection(captions, index, [captions[int(row)] for row in np.linspace(0, last, QUERIES)])


def beside_bm25s(size: int, options: Options) -> Measured:
    """bm25s itself, which computes our scores too; float32, as it does by itself."""
    import bm25s

    collection = prepare(size, "lucene")
    theirs = bm25s.BM25(k1=1.5, b=0.75, method="lucene")
    theirs.index([text.split() for text in collection.captions], show_progress=False)

    def ask() -> list[NDArray[np.float64]]:
        found = []
        for question in collection.questions:
            hits = theirs.retrieve([question.split()], k=K, show_progress=False)
            found.append(np.asarray(hits.scores[0], np.float64))
        return found

    return _compare(collection, ask, QUERIES, options, "bm25s")


def beside_rank_bm25(size: int, options: Options) -> Measured:
    """rank_bm25's BM25Okapi, as MolReGPT uses it; ours with its formula."""
    from rank_bm25 import BM25Okapi

    if size > LARGEST_SLOW:
        raise CannotMeasure(f"not over {LARGEST_SLOW:,}: one Python dictionary a caption would fill the memory")
    collection = prepare(size, "okapi")
    theirs = BM25Okapi([text.split() for text in collection.captions])

    def ask() -> list[NDArray[np.float64]]:
        few = collection.questions[:SLOW_QUERIES]
        return [np.sort(theirs.get_scores(question.split()))[::-1][:K] for question in few]

    return _compare(collection, ask, SLOW_QUERIES, options, "rank-bm25")


def _compare(
    collection: Collection, ask: Callable[[], list[NDArray[np.float64]]], asked: int, options: Options, package: str
) -> Measured:
    def search() -> list[NDArray[np.float64]]:
        found = [collection.index.search(question, K) for question in collection.questions]
        return [np.array([hit.similarity for hit in hits]) for hits in found]

    compared = run_pairs(search, ask, turns=options.turns, work=QUERIES, theirs_work=asked, clock=options.clock)
    # float32 on bm25s's side. Captions that score the same may come in any order.
    pairs = zip(compared.ours[:asked], compared.theirs, strict=True)
    equal = all(len(a) == len(b) and np.allclose(a, b, rtol=1e-5) for a, b in pairs)
    return Measured(compared.pairs, equal, packages=("molindex", package))


if __name__ == "__main__":
    run_script(__doc__ or "", list_cases)
