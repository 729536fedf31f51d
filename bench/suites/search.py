"""Exact top 10 among molecules by fingerprint, on one thread, beside FPSim2, RDKit, faiss, smiles-fp and smbt.

Morgan, radius 2, 2048 bits. Up to 1,584,663 molecules are those of MOSES; beyond, changed copies are added (see
`bench.molecules.make_codes`). Queries are rows of the table, evenly spread, so each finds itself and its like.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import faiss
import numpy as np
from numpy.typing import NDArray
from rdkit import DataStructs
from rdkit.DataStructs import ExplicitBitVect

from bench import molecules
from bench.pairs import run_pairs
from bench.rows import Task
from bench.suite import CannotMeasure, Case, Measured, Options, run_script
from molindex import exact
from molindex.bits import count_bits
from molindex.fingerprints import Fingerprint
from molindex.molecules import MoleculeIndex
from molindex.similarity import Metric
from molindex.smiles import parse_smiles

K = 10
SIZES = (100_000, 1_000_000, 10_000_000)
QUICK_SIZES = (20_000, 60_000, 200_000)
# RDKit's vectors take some 400 bytes each beside everything else, smbt's lists of bits more.
LARGEST_AS_OBJECTS = 1_000_000
# FPSim2 gives float32.
TOLERANCE = 1e-6

# For each query, the similarities of what was found, best first.
Found = list[NDArray[np.float64]]


@dataclass(frozen=True)
class Search:
    """A collection to search, and what to ask it.

    Attributes:
        codes: uint8 [N, 256], in row order.
        index: ours.
        smiles: of the queries.
        queries: uint8 [Q, 256], of the same.
        vectors: of the same, as RDKit has them.
    """

    codes: NDArray[np.uint8]
    index: MoleculeIndex
    smiles: Sequence[str]
    queries: NDArray[np.uint8]
    vectors: Sequence[ExplicitBitVect]


def list_cases(options: Options) -> Iterator[Case]:
    """All sizes; at each, single queries, a batch, and Tanimoto."""
    sizes = QUICK_SIZES if options.quick else SIZES
    wanted = [size for size in sizes if any(options.wants(_task(job, "", size).name) for job in JOBS)]
    for size in wanted:
        for job, peers in JOBS.items():
            for peer, measure in peers.items():
                task = _task(job, peer, size)
                yield Case(task, partial(_measure, measure, size, max(wanted), options))


def _measure(measure: Callable[[Search, Options], Measured], size: int, largest: int, options: Options) -> Measured:
    return measure(prepare(size, largest), options)


def _task(job: str, peer: str, size: int) -> Task:
    return Task(job, WHAT[job], peer, size, "molecules", "query", _find_target(job, peer, size))


def _find_target(job: str, peer: str, size: int) -> float | None:
    # Smaller collections are there to show growth; with them, reading the query's SMILES is most of the work.
    return TARGETS.get((job, peer)) if size >= SIZES[1] else None


@lru_cache(maxsize=1)
def prepare(size: int, largest: int) -> Search:
    """Make the collection; fingerprints are computed once, for the largest size."""
    known = molecules.fingerprint_moses(min(largest, len(molecules.read_moses())))
    codes = molecules.make_codes(known, size)
    rows = molecules.pick_rows(min(size, len(known)), 100 if size <= 1_000_000 else 20)
    smiles = [molecules.read_moses()[row] for row in rows]
    vectors = [Fingerprint().of(parse_smiles(text)) for text in smiles]
    queries = Fingerprint().pack_vectors(vectors)
    return Search(codes, molecules.make_index(codes), smiles, queries, vectors)


def search_singly(search: Search, metric: Metric = "dice") -> Found:
    """Ours, query by query, from SMILES."""
    found = [search.index.search(text, K, metric=metric) for text in search.smiles]
    return [np.array([hit.similarity for hit in hits]) for hits in found]


def search_together(search: Search) -> Found:
    """Ours, all queries in one call, from fingerprints."""
    found = search.index.search_packed(search.queries, K)
    return [np.array([hit.similarity for hit in hits]) for hits in found]


def beside_fpsim2(search: Search, options: Options, threshold: float = 0.0) -> Measured:
    """Query by query, from SMILES."""
    engine = open_fpsim2(search.codes)
    return _compare(
        search,
        options,
        lambda: search_singly(search),
        lambda: _ask_fpsim2(engine, search.smiles, threshold),
        packages=("FPSim2",),
        note="FPSim2 leaves out what is less similar than 0.5" if threshold else count_bytes(search),
    )


def beside_fpsim2_pruned(search: Search, options: Options) -> Measured:
    """As above, but FPSim2 may leave out what is less similar than 0.5."""
    return beside_fpsim2(search, options, threshold=0.5)


def beside_fpsim2_batch(search: Search, options: Options) -> Measured:
    """A batch, from fingerprints; FPSim2 takes one query a call."""
    engine = open_fpsim2(search.codes)
    return _compare(
        search,
        options,
        lambda: search_together(search),
        lambda: _ask_fpsim2(engine, search.vectors, 0.0),
        packages=("FPSim2",),
        note=f"{len(search.queries)} queries",
    )


def _ask_fpsim2(engine: Any, queries: Sequence[str | ExplicitBitVect], threshold: float) -> Found:
    found = [engine.top_k(query, k=K, threshold=threshold, metric="dice", n_workers=1) for query in queries]
    return [hits["coeff"].astype(np.float64) for hits in found]


@lru_cache(maxsize=1)
def _open_small_fpsim2() -> Any:
    """An engine of ten molecules."""
    from FPSim2 import FPSim2Engine
    from FPSim2.io import create_db_file

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "small.h5")
        few = [[smiles, row] for row, smiles in enumerate(molecules.read_moses()[:10])]
        create_db_file(few, path, "smiles", "Morgan", dict(molecules.MORGAN))
        return FPSim2Engine(path)


def open_fpsim2(codes: NDArray[np.uint8]) -> Any:
    """FPSim2's engine over fingerprints [N, 256], in memory.

    Its own file is made from SMILES alone, which made molecules lack, so the array that it searches is laid out here:
    row number, words with the first bit highest, set bits; sorted by set bits.
    """
    engine = _open_small_fpsim2()
    bits = count_bits(codes)
    order = np.argsort(bits, kind="stable")
    mirrored = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little"), axis=1)
    table = np.empty((len(codes), codes.shape[1] // 8 + 2), np.uint64)
    table[:, 0], table[:, -1] = order, bits[order]
    table[:, 1:-1] = mirrored.ravel()[codes[order]].view(">u8")
    counts, starts = np.unique(bits[order], return_index=True)
    ends = [*starts[1:].tolist(), len(codes)]
    engine.storage.fps = table
    engine.storage.popcnt_bins = list(zip(counts.tolist(), zip(starts.tolist(), ends, strict=True), strict=True))
    return engine


def beside_rdkit(search: Search, options: Options) -> Measured:
    """RDKit's bulk similarity over a list of vectors, then the best of it."""
    _require_small(search)
    vectors = [DataStructs.CreateFromBinaryText(code.tobytes()) for code in search.codes]
    few = search.vectors[:20]

    def scan() -> Found:
        scores = (np.array(DataStructs.BulkDiceSimilarity(query, vectors)) for query in few)
        return [np.sort(np.partition(score, len(score) - K)[len(score) - K :])[::-1] for score in scores]

    return _compare(search, options, lambda: search_singly(search), scan, packages=("rdkit",), theirs_work=len(few))


def beside_faiss(search: Search, options: Options) -> Measured:
    """Faiss's flat binary index in one call: the nearest by Hamming distance, which are others than those by Dice."""
    flat = faiss.IndexBinaryFlat(8 * search.codes.shape[1])
    flat.add(search.codes)
    compared = run_pairs(
        lambda: search_together(search),
        lambda: flat.search(search.queries, K),
        turns=options.turns,
        work=len(search.queries),
        clock=options.clock,
    )
    return Measured(compared.pairs, None, "it ranks by Hamming distance, not by Dice", ("molindex", "faiss-cpu"))


def beside_smiles_fp(search: Search, options: Options) -> Measured:
    """Tanimoto, one call for all queries, from its own file."""
    from smiles_fp import bulk_tanimoto_mmap_topk, save_fingerprints

    _require_small(search)
    with tempfile.TemporaryDirectory() as folder:
        asked, known = Path(folder) / "queries.fp", Path(folder) / "known.fp"
        save_fingerprints(list(search.vectors), asked)
        save_fingerprints([DataStructs.CreateFromBinaryText(code.tobytes()) for code in search.codes], known)

        def ask() -> Found:
            return list(bulk_tanimoto_mmap_topk(asked, known, k=K, n_threads=1)[1])

        return _compare(search, options, lambda: search_singly(search, "tanimoto"), ask, packages=("smiles-fp",))


def beside_smbt(search: Search, options: Options) -> Measured:
    """Tanimoto; it takes a threshold, not a number, and is told the one that gives the ten."""
    import smbt

    _require_small(search)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "known.txt"
        with path.open("w", encoding="ascii") as stream:
            stream.writelines(" ".join(map(str, bits)) + "\n" for bits in map(_list_bits, search.codes))
        tree = smbt.build_file(str(path), mode=3)
    asked = [_list_bits(code) for code in search.queries]
    # A hair below, because it compares after rounding of its own.
    thresholds = [float(found[-1]) - 1e-9 for found in search_singly(search, "tanimoto")]

    def ask() -> Found:
        found = [tree.search(bits, similarity=floor)[:K] for bits, floor in zip(asked, thresholds, strict=True)]
        return [np.array([similarity for _, similarity in hits]) for hits in found]

    return _compare(
        search,
        options,
        lambda: search_singly(search, "tanimoto"),
        ask,
        packages=("smbt",),
        note="it is told the tenth similarity",
    )


def _list_bits(code: NDArray[np.uint8]) -> list[int]:
    return [int(bit) for bit in np.flatnonzero(np.unpackbits(code, bitorder="little"))]


def _require_small(search: Search) -> None:
    if len(search.codes) > LARGEST_AS_OBJECTS:
        raise CannotMeasure(f"not over {LARGEST_AS_OBJECTS:,}: one Python object a molecule would fill the memory")


def _compare(
    search: Search,
    options: Options,
    ours: Callable[[], Found],
    theirs: Callable[[], Found],
    *,
    packages: tuple[str, ...],
    note: str = "",
    theirs_work: int | None = None,
) -> Measured:
    compared = run_pairs(
        ours,
        theirs,
        turns=options.turns,
        work=len(search.queries),
        theirs_work=theirs_work,
        clock=options.clock,
    )
    # Molecules that are equally similar may come in any order, so that only similarities can be compared.
    pairs = zip(compared.ours[: len(compared.theirs)], compared.theirs, strict=True)
    equal = all(len(a) == len(b) and bool(np.abs(a - b).max() < TOLERANCE) for a, b in pairs)
    return Measured(compared.pairs, equal, note, ("molindex", "faiss-cpu", "rdkit", *packages))


def count_bytes(search: Search) -> str:
    """How many bytes of fingerprints a query reads, in words."""
    read = 0

    def counted(compute: Callable[..., Any]) -> Callable[..., Any]:
        def count(query: NDArray[np.uint8], codes: NDArray[np.uint8], *rest: int) -> Any:
            nonlocal read
            read += codes.nbytes
            return compute(query, codes, *rest)

        return count

    # All that a search reads of the collection goes through these two.
    with ExitStack() as stack:
        for name in ("hamming", "within_radius"):
            stack.enter_context(patch.object(exact, name, counted(getattr(exact, name))))
        search_singly(search)
    each, whole = read / len(search.queries) / 1e6, search.codes.nbytes / 1e6
    return f"reads {each:.3g} MB a query of {whole:.3g} MB of fingerprints"


WHAT = {
    "search": "exact top 10 by Dice, one query at a time, from SMILES, one thread",
    "search-batch": "exact top 10 by Dice, all queries in one call, from fingerprints, one thread",
    "search-tanimoto": "exact top 10 by Tanimoto, one query at a time, one thread",
}
JOBS: dict[str, dict[str, Callable[[Search, Options], Measured]]] = {
    "search": {"FPSim2": beside_fpsim2, "FPSim2, threshold 0.5": beside_fpsim2_pruned, "RDKit bulk": beside_rdkit},
    "search-batch": {"FPSim2": beside_fpsim2_batch, "faiss flat binary": beside_faiss},
    "search-tanimoto": {"smiles-fp": beside_smiles_fp, "smbt": beside_smbt},
}
TARGETS = {("search", "FPSim2"): 5.0, ("search-batch", "FPSim2"): 8.0}


if __name__ == "__main__":
    run_script(__doc__ or "", list_cases)
