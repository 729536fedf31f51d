"""An index of molecules: exact nearest neighbours by fingerprint similarity, kept in one file."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase

from molindex.engine import Engine, LocalEngine, in_order
from molindex.errors import InputError
from molindex.exact import ExactSearch, SortedFingerprints
from molindex.fingerprints import Fingerprint
from molindex.neighbours import Neighbour
from molindex.progress import track
from molindex.similarity import Metric
from molindex.smiles import SmilesError, parse_smiles, parse_smiles_for_morgan
from molindex.storage import Provenance, read_index, write_index
from molindex.strings import KeyLookup, PackedStrings
from molindex.tables import Backslashes, Columns, Rejected, RejectFile, Row, read_rows

_CHUNK_ROWS = 2_000
_WAITING_CHUNKS = 4


class MoleculeIndex:
    """Molecules by key, searchable by similarity; made by `build`, `from_table` or `open`.

    Attributes:
        keys: The keys in row order.
        fingerprint: What the molecules are compared by.
        provenance: Where the index comes from.
    """

    def __init__(self, lookup: KeyLookup, fingerprints: SortedFingerprints, provenance: Provenance) -> None:
        self.keys: Sequence[str] = lookup.keys
        self.fingerprint = Fingerprint.parse(provenance.settings)
        self.provenance = provenance
        self._lookup = lookup
        self._fingerprints = fingerprints
        self._search = ExactSearch(fingerprints)

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def build(
        cls,
        rows: Iterable[tuple[str, str]],
        *,
        fingerprint: Fingerprint | None = None,
        workers: int = 1,
        engine: Engine | None = None,
        progress: bool = False,
        on_reject: Callable[[Rejected], None] | None = None,
    ) -> MoleculeIndex:
        """Fingerprint (key, SMILES) pairs; they are read as a stream.

        Args:
            rows: Keys need not be unique.
            fingerprint: Defaults to Morgan, radius 2, 2048 bits.
            workers: Processes that fingerprint; the result does not depend on it. More than one uses the `spawn` start
                method, so a script must guard its entry by `if __name__ == "__main__":`.
            engine: Fingerprints in place of the workers, such as the machines of a cluster; likewise.
            progress: Show a bar on stderr.
            on_reject: Called for each row that cannot be read (`number` counts from 1, `file` is empty); the index is
                built from the others.

        Raises:
            InputError: A SMILES cannot be read and there is no `on_reject`.
        """
        numbered = (Row(number, key, smiles) for number, (key, smiles) in enumerate(rows, start=1))
        return _build(numbered, "", fingerprint or Fingerprint(), workers, engine, progress, on_reject)

    @classmethod
    def from_table(
        cls,
        path: Path,
        *,
        rejects: Path,
        columns: Columns | None = None,
        backslashes: Backslashes = "single",
        fingerprint: Fingerprint | None = None,
        workers: int = 1,
        engine: Engine | None = None,
        progress: bool = False,
    ) -> MoleculeIndex:
        """Fingerprint the molecules of a table file (see `tables.read_rows`).

        Args:
            path: TSV, CSV, SMILES or SDF, plain or gzipped.
            rejects: The side file that names each row left out and why; written only if there are any.
            columns: Defaults to CID and SMILES; the text column is not read.
            backslashes: See `tables.read_rows`.
            fingerprint: As `build`, like the rest.
            workers: As `build`.
            engine: As `build`.
            progress: As `build`.

        Raises:
            InputError: The file cannot be read, or no row of it can.
        """
        wanted = replace(columns or Columns(), text="")
        with RejectFile(rejects) as side_file:
            found = read_rows(path, wanted, backslashes=backslashes)
            index = _build(found, str(path), fingerprint or Fingerprint(), workers, engine, progress, side_file.write)
        if not len(index):
            raise InputError(f"{path}: no molecule in it ({index.provenance.rejected} rows rejected, see {rejects})")
        return index

    def save(self, path: Path) -> None:
        """Write the index to one file, atomically."""
        arrays: dict[str, NDArray[Any]] = {
            "key_text": self._lookup.keys.text,
            "key_ends": self._lookup.keys.ends,
            "key_order": self._lookup.order,
            "codes": self._fingerprints.codes,
            "rows": self._fingerprints.rows,
            "group_starts": self._fingerprints.group_starts,
            "group_bits": self._fingerprints.group_bits,
            "group_folded_bits": self._fingerprints.group_folded_bits,
        }
        if self._fingerprints.folded is not self._fingerprints.codes:
            arrays["folded"] = self._fingerprints.folded
        write_index(path, self.provenance, arrays)

    @classmethod
    def open(
        cls,
        path: Path,
        expect: Fingerprint | None = None,
        *,
        allow_other_rdkit: bool = False,
        verify: bool = False,
    ) -> MoleculeIndex:
        """Open an index file memory-mapped.

        Args:
            path: A file that `save` wrote.
            expect: Refuse an index of another fingerprint.
            allow_other_rdkit: Accept an index that another RDKit version computed. Queries are fingerprinted by this
                one, and a release may change a fingerprint's bits.
            verify: Check every byte against the stored SHA-256 sums.

        Raises:
            InputError: The file is missing, cut off, damaged, or does not match.
        """
        provenance, arrays = read_index(path, "molecules", verify=verify)
        if expect is not None and provenance.settings != str(expect):
            raise InputError(f"{path}: an index of fingerprint {provenance.settings}, expected {expect}")
        if provenance.library != _library() and not allow_other_rdkit:
            raise InputError(f"{path}: computed by {provenance.library}, this is {_library()}; build the index again")
        fingerprints = SortedFingerprints(
            codes=arrays["codes"],
            folded=arrays.get("folded", arrays["codes"]),
            rows=arrays["rows"],
            group_starts=arrays["group_starts"],
            group_bits=arrays["group_bits"],
            group_folded_bits=arrays["group_folded_bits"],
        )
        keys = PackedStrings(arrays["key_text"], arrays["key_ends"])
        return cls(KeyLookup(keys, arrays["key_order"]), fingerprints, provenance)

    def search(
        self,
        query: str | Chem.Mol,
        k: int,
        *,
        metric: Metric = "dice",
        floor: float = 0.0,
        exclude: Collection[str] = (),
    ) -> list[Neighbour]:
        """The k most similar molecules: exact, equal to RDKit's own similarities to the last bit.

        Args:
            query: A SMILES or a molecule.
            k: The most to return.
            metric: `dice` or `tanimoto`.
            floor: Leave out what is less similar than this.
            exclude: Keys that may not be found, such as the query's own.

        Returns:
            Best first; equal similarities in row order.

        Raises:
            InputError: The SMILES cannot be read (`SmilesError`), k < 1, the metric is unknown, or floor not in 0..1.
        """
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
        """As `search`, for B queries; `exclude` holds one collection of keys for each.

        Raises:
            InputError: As `search`, or `exclude` has not B entries.
        """
        mols = [parse_smiles(query) if isinstance(query, str) else query for query in queries]
        return self.search_packed(self.fingerprint.pack(mols), k, metric=metric, floor=floor, exclude=exclude)

    def search_packed(
        self,
        codes: NDArray[np.uint8],
        k: int,
        *,
        metric: Metric = "dice",
        floor: float = 0.0,
        exclude: Sequence[Collection[str]] | None = None,
    ) -> list[list[Neighbour]]:
        """As `search_batch`, for fingerprints already packed by `Fingerprint.pack`: uint8 [B, packed_bytes].

        Raises:
            InputError: As `search_batch`, or the codes have another type or shape.
        """
        width = self.fingerprint.packed_bytes
        if codes.dtype != np.uint8 or codes.ndim != 2 or codes.shape[1] != width:
            raise InputError(f"packed {self.fingerprint} is uint8 [B, {width}], got {codes.dtype} {list(codes.shape)}")
        if exclude is not None and len(exclude) != len(codes):
            raise InputError(f"{len(codes)} queries but {len(exclude)} collections of keys to exclude")
        keys = exclude if exclude is not None else [()] * len(codes)
        barred = [self._lookup.rows(barred) if barred else None for barred in keys]
        if len(codes) == 1:
            found = [self._search.search(codes[0], k, metric, floor, barred[0])]
        else:
            found = self._search.search_batch(codes, k, metric, floor, barred)
        return [
            [
                Neighbour(row, self.keys[row], similarity)
                for row, similarity in zip(rows.tolist(), scores.tolist(), strict=True)
            ]
            for rows, scores in found
        ]


def _library() -> str:
    return f"rdkit {rdBase.rdkitVersion}"


def _build(
    rows: Iterable[Row | Rejected],
    file: str,
    fingerprint: Fingerprint,
    workers: int,
    engine: Engine | None,
    progress: bool,
    on_reject: Callable[[Rejected], None] | None,
) -> MoleculeIndex:
    source = hashlib.sha256()
    keys: list[str] = []
    codes: list[NDArray[np.uint8]] = []
    rejected = 0

    def hashed() -> Iterator[Row | Rejected]:
        for row in track(rows, "fingerprints", shown=progress):
            if isinstance(row, Row):
                source.update(f"{row.key}\t{row.smiles}\n".encode())
            yield row

    for chunk in _fingerprint_chunks(hashed(), file, fingerprint, workers, engine):
        for bad in chunk.rejected:
            if on_reject is None:
                raise InputError(f"{bad.file or 'row'} {bad.number}: {bad.reason}")
            on_reject(bad)
            rejected += 1
        keys += chunk.keys
        codes.append(chunk.codes)
    packed = np.concatenate(codes) if codes else np.zeros((0, fingerprint.packed_bytes), np.uint8)
    provenance = Provenance("molecules", str(fingerprint), _library(), len(keys), rejected, source.hexdigest())
    return MoleculeIndex(KeyLookup.sort(PackedStrings.pack(keys)), SortedFingerprints.sort(packed), provenance)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """What came of some rows, in order: keys and fingerprints [n, W] of the good ones, and the bad ones."""

    keys: list[str]
    codes: NDArray[np.uint8]
    rejected: list[Rejected]


def _fingerprint_chunks(
    rows: Iterable[Row | Rejected], file: str, fingerprint: Fingerprint, workers: int, engine: Engine | None
) -> Iterator[_Chunk]:
    if workers < 1:
        raise InputError(f"workers must be at least 1, got {workers}")
    stream = iter(rows)
    batches = iter(lambda: list(islice(stream, _CHUNK_ROWS)), [])
    if engine is not None or workers == 1:
        recipe = _ChunkRecipe(file, fingerprint)
        yield from in_order((engine or LocalEngine()).map(recipe, batches))
        return
    # spawn: forking a process that already runs OpenMP threads (faiss) may hang the child.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting: deque[Future[_Chunk]] = deque()
        for batch in batches:
            waiting.append(pool.submit(_fingerprint_chunk, batch, file, fingerprint))
            # Bounded, so that a long table is not held in memory while the workers catch up.
            if len(waiting) >= workers * _WAITING_CHUNKS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@dataclass(frozen=True)
class _ChunkRecipe:
    """What `Engine.map` takes: rows of a table to a chunk."""

    file: str
    fingerprint: Fingerprint

    def prepare(self) -> Callable[[list[Row | Rejected]], _Chunk]:
        return partial(_fingerprint_chunk, file=self.file, fingerprint=self.fingerprint)


def _fingerprint_chunk(batch: list[Row | Rejected], file: str, fingerprint: Fingerprint) -> _Chunk:
    keys: list[str] = []
    mols: list[Chem.Mol] = []
    rejected: list[Rejected] = []
    parse = parse_smiles_for_morgan if fingerprint.kind == "morgan" else parse_smiles
    with rdBase.BlockLogs():
        for item in batch:
            if isinstance(item, Rejected):
                rejected.append(item)
                continue
            try:
                mols.append(parse(item.smiles))
                keys.append(item.key)
            except SmilesError as error:
                rejected.append(Rejected(file, item.number, str(error)))
    return _Chunk(keys, fingerprint.pack(mols), rejected)
