"""Times exact top-10 search on one thread, beside RDKit's bulk similarity and, where it is installed, FPSim2.

    OMP_NUM_THREADS=1 python search_speed.py TABLE [--key CID] [--smiles SMILES] [--rows N] [--queries N]

TABLE is a TSV or CSV file. Queries are rows of the table, evenly spread. Printed: mean and median milliseconds of
processor time a query (the best of five rounds each), and whether the result equals RDKit's. With MOSES: TABLE is
moses/dataset/data/train.csv.gz of the package `molsets`, with `--key ""`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from itertools import islice, product
from pathlib import Path

import numpy as np
from rdkit import DataStructs

from molindex.fingerprints import Fingerprint
from molindex.molecules import MoleculeIndex
from molindex.neighbours import Neighbour
from molindex.smiles import parse_smiles
from molindex.tables import Columns, Row, read_rows

K = 10
ROUNDS = 5
# Processor time, of all threads: what else the machine does counts little, and no hidden thread is left out.
TIMER = time.process_time


def main() -> None:
    """Read the table, build, time, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--key", default="CID")
    parser.add_argument("--smiles", default="SMILES")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    found = read_rows(arguments.table, Columns(arguments.key, arguments.smiles, text=""))
    rows = list(islice((row for row in found if isinstance(row, Row)), arguments.rows))
    begin = time.perf_counter()
    index = MoleculeIndex.build(((row.key, row.smiles) for row in rows), workers=arguments.workers)
    print(f"{len(index):,} molecules, Morgan r2 2048, top {K}; built in {time.perf_counter() - begin:.0f} s")
    with tempfile.TemporaryDirectory() as folder:
        time_searches(index, rows, np.linspace(0, len(rows) - 1, arguments.queries, dtype=int).tolist(), Path(folder))


def time_searches(index: MoleculeIndex, rows: Sequence[Row], picked: Sequence[int], folder: Path) -> None:
    """Print one line for each way of searching."""
    path = folder / "bench.index"
    index.save(path)
    begin = TIMER()
    opened = MoleculeIndex.open(path)
    print(f"{'open':34} {1e3 * (TIMER() - begin):8.2f} ms, file {path.stat().st_size / 1e6:.0f} MB")
    queries = [rows[place].smiles for place in picked]
    codes = Fingerprint().pack(map(parse_smiles, queries))
    numbers = range(len(queries))
    ours = report("molindex, SMILES", numbers, lambda number: opened.search(queries[number], K))
    report("molindex, fingerprint", numbers, lambda number: opened.search_packed(codes[number : number + 1], K)[0])
    report(
        "molindex, fingerprint, Tanimoto",
        numbers,
        lambda n: opened.search_packed(codes[n : n + 1], K, metric="tanimoto")[0],
    )
    batches = []
    for _ in range(ROUNDS):
        begin = TIMER()
        opened.search_packed(codes, K)
        batches.append(TIMER() - begin)
    print(f"{'molindex, batch of fingerprints':34} {1e3 * min(batches) / len(queries):8.2f} ms a query")
    fingerprints = opened._fingerprints
    by_row = np.empty_like(fingerprints.codes)
    by_row[fingerprints.rows] = fingerprints.codes
    vectors = [DataStructs.CreateFromBinaryText(code.tobytes()) for code in by_row]

    def whole_scan(number: int) -> list[Neighbour]:
        similarities = np.array(DataStructs.BulkDiceSimilarity(vectors[picked[number]], vectors))
        best = np.lexsort((np.arange(len(similarities)), -similarities))[:K]
        return [Neighbour(int(row), opened.keys[int(row)], float(similarities[row])) for row in best]

    scans = report("RDKit bulk Dice, whole sort", numbers[:20], whole_scan, rounds=1)
    print(f"equal to RDKit: {scans == ours[:20]}")
    if find_spec("FPSim2"):
        time_fpsim2(rows, queries, folder)


def report(
    label: str, numbers: Sequence[int], search: Callable[[int], list[Neighbour]], rounds: int = ROUNDS
) -> list[list[Neighbour]]:
    """Run all queries some rounds; the best time of each counts."""
    best = [float("inf")] * len(numbers)
    results: list[list[Neighbour]] = []
    for _ in range(rounds):
        results = []
        for number in numbers:
            begin = TIMER()
            results.append(search(number))
            best[number] = min(best[number], TIMER() - begin)
    print(f"{label:34} {1e3 * statistics.mean(best):8.2f} ms mean, {1e3 * statistics.median(best):.2f} median")
    sys.stdout.flush()
    return results


def time_fpsim2(rows: Sequence[Row], queries: Sequence[str], folder: Path) -> None:
    """The peer, in memory, one worker, from SMILES, as its users call it."""
    from FPSim2 import FPSim2Engine
    from FPSim2.io import create_db_file

    path = str(folder / "fpsim2.h5")
    molecules = [[row.smiles, number] for number, row in enumerate(rows)]
    create_db_file(molecules, path, "smiles", "Morgan", {"radius": 2, "fpSize": 2048})
    engine = FPSim2Engine(path)
    for metric, threshold in product(("dice", "tanimoto"), (0.0, 0.5)):
        top_k = partial(engine.top_k, k=K, threshold=threshold, metric=metric, n_workers=1)
        report(
            f"FPSim2 {metric}, threshold {threshold}",
            range(len(queries)),
            lambda number, top_k=top_k: top_k(queries[number]),
        )


if __name__ == "__main__":
    main()
