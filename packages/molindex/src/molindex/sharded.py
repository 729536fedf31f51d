"""More molecules than one file or one machine's memory should hold: a folder of index files that is searched as one.

    folder/shards.json            which tables, in which order, and how they were read
    folder/00000.index            the molecules of the first table; an index file like any other
    folder/00000.rejected.tsv     rows of that table that could not be read, if any

Each shard finds its own nearest k. These hold the nearest k of all, so their union, sorted by similarity and then by
row, is exactly what one index over all tables would find, ties included.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from molindex.engine import Engine, LocalEngine, import_ray
from molindex.errors import InputError
from molindex.fingerprints import Fingerprint
from molindex.molecules import MoleculeIndex
from molindex.neighbours import Neighbour
from molindex.progress import track
from molindex.similarity import Metric
from molindex.smiles import parse_smiles
from molindex.storage import read_index
from molindex.tables import Backslashes, Columns

_FILE, _FORMAT = "shards.json", 1


@dataclass(frozen=True)
class ShardRecipe:
    """How a table becomes a shard; what `engine.Engine.map` takes, with pairs of a shard's number and its table.

    Attributes:
        folder: Where the shards go.
        columns: As `MoleculeIndex.from_table`, like the rest.
        backslashes: See `tables.read_rows`.
        fingerprint: What molecules are compared by.
    """

    folder: Path
    columns: Columns
    backslashes: Backslashes
    fingerprint: Fingerprint

    def prepare(self) -> Callable[[tuple[int, Path]], int]:
        """See `engine.Recipe`; the work writes the shard, unless it is there, and returns its rows."""
        return self._build

    def _build(self, shard: tuple[int, Path]) -> int:
        number, table = shard
        path = _shard_path(self.folder, number)
        if path.exists():  # written whole or not at all, by an earlier run or by a machine that died right after
            return len(MoleculeIndex.open(path, self.fingerprint))
        index = MoleculeIndex.from_table(
            table,
            rejects=path.with_suffix(".rejected.tsv"),
            columns=self.columns,
            backslashes=self.backslashes,
            fingerprint=self.fingerprint,
        )
        index.save(path)
        return len(index)


def build_shards(
    tables: Sequence[Path],
    folder: Path,
    *,
    columns: Columns | None = None,
    backslashes: Backslashes = "single",
    fingerprint: Fingerprint | None = None,
    engine: Engine | None = None,
    progress: bool = False,
) -> int:
    """Index many tables, one shard a table; a run that was stopped goes on with the shards that are missing.

    A machine holds one table's index in memory while it builds it (0.3 kB a molecule): tables of 1 to 20 million rows
    suit most machines.

    Args:
        tables: Files that `tables.read_rows` reads, in the order that numbers the rows.
        folder: Where the shards go; with a cluster, on a disk that all its machines share.
        columns: As `MoleculeIndex.from_table`, like the rest.
        backslashes: As there.
        fingerprint: As there.
        engine: Where the shards are built; this process by default.
        progress: Show a bar on stderr.

    Returns:
        Molecules in all.

    Raises:
        InputError: A table cannot be read or holds no molecule, or the folder was begun otherwise.
    """
    if not tables:
        raise InputError(f"{folder}: no table to index")
    recipe = ShardRecipe(folder, columns or Columns(), backslashes, fingerprint or Fingerprint())
    _claim_folder(recipe, tables)
    built = (engine or LocalEngine()).map(recipe, enumerate(tables))
    return sum(rows for _, rows in track(built, "shards", shown=progress))


class ShardedIndex:
    """A folder of shards, searched like one `MoleculeIndex`; made by `open`.

    Attributes:
        fingerprint: What the molecules are compared by.
    """

    def __init__(self, rows: int, fingerprint: Fingerprint, ask: Callable[[Question], list[list[Neighbour]]]) -> None:
        self.fingerprint = fingerprint
        self._rows = rows
        self._ask = ask

    def __len__(self) -> int:
        return self._rows

    @classmethod
    def open(cls, folder: Path, expect: Fingerprint | None = None, *, actors: int = 0) -> ShardedIndex:
        """Open the shards of a folder.

        Args:
            folder: What `build_shards` finished.
            expect: Refuse an index of another fingerprint.
            actors: 0 searches here, one shard after the other; they are memory-mapped, so that the system holds what it
                has room for (besides, 4 bytes a molecule are held). More divide the shards among so many processes of a
                Ray cluster; those of a machine that dies begin anew on another one.

        Raises:
            InputError: A shard is missing or damaged, the shards do not belong together, or Ray is not installed.
        """
        shards, fingerprint = _read_shards(folder)
        if expect is not None and fingerprint != expect:
            raise InputError(f"{folder}: shards of fingerprint {fingerprint}, expected {expect}")
        rows = sum(shard.rows for shard in shards)
        if actors < 1:
            # Kept open: to map a file anew for each query would cost more than to search it.
            return cls(rows, fingerprint, partial(_search_in_turn, [_open(shard) for shard in shards]))
        return cls(rows, fingerprint, _start_keepers(shards, actors))

    def search(
        self,
        query: str | Chem.Mol,
        k: int,
        *,
        metric: Metric = "dice",
        floor: float = 0.0,
        exclude: Collection[str] = (),
    ) -> list[Neighbour]:
        """As `MoleculeIndex.search`; rows are counted through all shards."""
        return self.search_batch([query], k, metric=metric, floor=floor, exclude=[exclude])[0]

    def search_batch(
        self,
        queries: Sequence[str | Chem.Mol],
        k: int,
        *,
        metric: Metric = "dice",
        floor: float = 0.0,
        exclude: Sequence[Collection[str]] | None = None,
    ) -> list[list[Neighbour]]:
        """As `MoleculeIndex.search_batch`; rows are counted through all shards."""
        mols = [parse_smiles(query) if isinstance(query, str) else query for query in queries]
        return self._ask(Question(self.fingerprint.pack(mols), k, metric, floor, exclude))


@dataclass(frozen=True, eq=False)
class Question:
    """What each shard is asked: the arguments of `MoleculeIndex.search_packed`."""

    codes: NDArray[np.uint8]
    k: int
    metric: Metric
    floor: float
    exclude: Sequence[Collection[str]] | None


@dataclass(frozen=True)
class _Shard:
    """One index file, the rows of the shards before it, and its own."""

    path: Path
    first_row: int
    rows: int


_Opened = tuple[int, MoleculeIndex]  # with the rows before it


def _open(shard: _Shard) -> _Opened:
    return shard.first_row, MoleculeIndex.open(shard.path)


def _search_in_turn(shards: Sequence[_Opened], question: Question) -> list[list[Neighbour]]:
    k, metric, exclude = question.k, question.metric, question.exclude
    found: list[list[Neighbour]] = [[] for _ in question.codes]
    floor = question.floor
    for first_row, index in shards:
        here = index.search_packed(question.codes, k, metric=metric, floor=floor, exclude=exclude)
        numbered = [[replace(hit, row=first_row + hit.row) for hit in hits] for hits in here]
        found = _merge((found, numbered), k)
        if found and all(len(hits) == k for hits in found):
            # What is less similar than every query's k-th need not be looked at in the shards that follow.
            floor = max(floor, min(hits[-1].similarity for hits in found))
    return found


def _merge(parts: Iterable[Sequence[Sequence[Neighbour]]], k: int) -> list[list[Neighbour]]:
    """The best k of what several shards found for each query, equal similarities in row order."""
    together = (chain.from_iterable(hits) for hits in zip(*parts, strict=True))
    return [sorted(hits, key=lambda hit: (-hit.similarity, hit.row))[:k] for hits in together]


class _Keeper:
    """A process that keeps some shards open."""

    def __init__(self, shards: Sequence[_Shard]) -> None:
        self._opened = [_open(shard) for shard in shards]

    def search(self, question: Question) -> list[list[Neighbour]]:
        return _search_in_turn(self._opened, question)


def _start_keepers(shards: Sequence[_Shard], actors: int) -> Callable[[Question], list[list[Neighbour]]]:
    ray = import_ray()
    # A keeper whose machine dies begins anew on another one, and is asked again. Without num_cpus it takes a processor
    # to be placed but none to stay, so that the machines that are left can hold them all.
    keeper = ray.remote(_Keeper).options(max_restarts=-1, max_task_retries=-1, scheduling_strategy="SPREAD")
    keepers = [keeper.remote(shards[number::actors]) for number in range(min(actors, len(shards)))]

    def ask(question: Question) -> list[list[Neighbour]]:
        try:
            return _merge(ray.get([each.search.remote(question) for each in keepers]), question.k)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None

    return ask


def _shard_path(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.index"


def _claim_folder(recipe: ShardRecipe, tables: Sequence[Path]) -> None:
    """Write down what the shards are made from, or find that the folder was begun with the same."""
    stated: dict[str, Any] = {
        "format": _FORMAT,
        "tables": [table.name for table in tables],
        "bytes": [_size(table) for table in tables],
        "columns": asdict(recipe.columns),
        "backslashes": recipe.backslashes,
        "fingerprint": str(recipe.fingerprint),
    }
    path = recipe.folder / _FILE
    if path.exists():
        begun = _read_stated(path)
        for name, value in stated.items():
            if begun.get(name) != value:
                raise InputError(f"{path}: these shards were begun with other {name}; give another folder")
        return
    recipe.folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    temporary.write_text(json.dumps(stated, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def _size(table: Path) -> int:
    try:
        return table.stat().st_size
    except OSError as error:
        raise InputError(f"{table}: cannot be read: {error.strerror}") from error


def _read_stated(path: Path) -> Mapping[str, Any]:
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as the list of an index's shards ({error})") from error
    if not isinstance(stated, dict) or stated.get("format") != _FORMAT or not isinstance(stated.get("tables"), list):
        raise InputError(f"{path}: not the list of an index's shards, or one of another format")
    return stated


def _read_shards(folder: Path) -> tuple[list[_Shard], Fingerprint]:
    stated = _read_stated(folder / _FILE)
    fingerprint = Fingerprint.parse(str(stated.get("fingerprint")))
    shards: list[_Shard] = []
    first_row = 0
    for number, table in enumerate(stated["tables"]):
        path = _shard_path(folder, number)
        if not path.exists():
            raise InputError(f"{path}: missing, the shard of {table}; build the rest of the shards first")
        provenance, _ = read_index(path, "molecules")
        if provenance.settings != str(fingerprint):
            raise InputError(f"{path}: a shard of {provenance.settings}, the others are of {fingerprint}")
        shards.append(_Shard(path, first_row, provenance.rows))
        first_row += provenance.rows
    return shards, fingerprint
