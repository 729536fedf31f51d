"""An index from SMILES: parse, fingerprint (Morgan, radius 2, 2048 bits), sort, write; beside FPSim2's own file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench import molecules
from bench.pairs import run_pairs
from bench.rows import Task
from bench.suite import Case, Measured, Options, run_script
from molindex.molecules import MoleculeIndex

SIZES = (10_000, 100_000, 1_000_000)
QUICK_SIZES = (2_000, 5_000, 10_000)
WORKERS = 2


def list_cases(options: Options) -> Iterator[Case]:
    """All sizes."""
    what = f"an index file from SMILES, Morgan r2 2048, {WORKERS} processes"
    for size in QUICK_SIZES if options.quick else SIZES:
        task = Task("build", what, "FPSim2", size, "molecules", "run", 2.0 if size == SIZES[-1] else None)
        yield Case(task, partial(measure, size, options))


def measure(size: int, options: Options) -> Measured:
    """Ours with two processes, FPSim2 with the one that it has."""
    from FPSim2.io import create_db_file

    smiles = molecules.read_moses()[:size]
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "ours.index", Path(folder) / "theirs.h5"

        def build_ours() -> int:
            index = MoleculeIndex.build(((str(row), text) for row, text in enumerate(smiles)), workers=WORKERS)
            index.save(ours)
            return len(MoleculeIndex.open(ours))

        def build_theirs() -> int:
            rows = [[text, row] for row, text in enumerate(smiles)]
            create_db_file(rows, str(theirs), "smiles", "Morgan", dict(molecules.MORGAN))
            return count_rows(theirs)

        compared = run_pairs(build_ours, build_theirs, turns=options.turns, clock=options.clock)
        sizes = f"files of {ours.stat().st_size / 1e6:.1f} and {theirs.stat().st_size / 1e6:.1f} MB"
    return Measured(compared.pairs, compared.ours == compared.theirs, sizes, ("molindex", "rdkit", "FPSim2", "tables"))


def count_rows(path: Path) -> int:
    """Rows of FPSim2's file."""
    import tables

    with tables.open_file(str(path)) as stored:
        return int(stored.root.fps.nrows)


if __name__ == "__main__":
    run_script(__doc__ or "", list_cases)
