"""A pool of molecules with descriptions, and its search indexes, which are built once and then read from a cache.

Layout of the cache: `<cache>/pools/<digest of the pool>/` holds one file per index, named after everything that its
content depends on: fingerprint or tokenizer, the version of the library that computed it, our format version.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

import unitlm.errors
from molregpt.console import messages
from molregpt.data.shipped import shipped_pairs
from molregpt.data.table import is_line_key, read_pairs
from molregpt.records import Pair
from unitlm.files import write_text

if TYPE_CHECKING:
    from molindex.captions import CaptionIndex
    from molindex.engine import Engine
    from molindex.fingerprints import Fingerprint
    from molindex.molecules import MoleculeIndex
    from molindex.tokenization import Tokenizer

FORMAT = 1
"""Version of the cached files; raised whenever their content or layout changes."""


class _Saved(Protocol):
    def save(self, path: Path) -> None: ...


_Index = TypeVar("_Index", bound=_Saved)


def cache_folder() -> Path:
    """Where indexes and names are: `$MOLREGPT_CACHE`, else `molregpt` in the user's own (`$XDG_CACHE_HOME`)."""
    if own := os.environ.get("MOLREGPT_CACHE"):
        return Path(own).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("molregpt", appauthor=False)


def digest_pairs(pairs: Iterable[Pair]) -> str:
    """A digest (16 hex digits of SHA-256) of the pairs' keys, molecules and captions, in their order."""
    digest = hashlib.sha256()
    for pair in pairs:
        # A unit separator between cells: no table cell holds one, so no two different tables write the same bytes.
        digest.update(f"{pair.key}\x1f{pair.smiles}\x1f{pair.caption}\n".encode())
    return digest.hexdigest()[:16]


def join_tables(tables: Sequence[tuple[str, Sequence[Pair]]]) -> list[Pair]:
    """One pool of several tables.

    A row that repeats an earlier one (key, molecule and caption) is left out. A key that two tables give to different
    rows gets the later table's name before it, so that keys stay unique in the pool.

    Args:
        tables: Name and rows of each table.
    """
    pool: dict[str, Pair] = {}
    seen: set[tuple[str, str, str]] = set()
    for name, pairs in tables:
        for pair in pairs:
            row = (pair.key, pair.smiles, pair.caption)
            if row in seen:
                continue
            seen.add(row)
            key = pair.key if pair.key not in pool else f"{name}:{pair.key}"
            number = 1
            while key in pool:  # tables of one name, in several folders
                number += 1
                key = f"{name}:{pair.key}#{number}"
            pool[key] = replace(pair, key=key)
    return list(pool.values())


def keep_readable(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs whose molecules RDKit can read; a note on stderr says what is left out."""
    from molindex.smiles import SmilesError, parse_smiles

    kept, rejected = [], []
    for pair in pairs:
        try:
            parse_smiles(pair.smiles)
            kept.append(pair)
        except SmilesError as error:
            rejected.append(f"{pair.key}: {error}")
    _note_rejected(rejected, len(pairs), "pairs")
    return kept


def _note_rejected(rejected: Sequence[str], of: int, what: str) -> None:
    if rejected:
        note = f"{len(rejected)} of {of} {what} are left out; the first is {rejected[0]}"
        messages().print(note, style="yellow", markup=False)


def open_database(pools: Sequence[Path] = ()) -> Database:
    """The pool of some tables, or the shipped one.

    Args:
        pools: Tables as `data.table.read_pairs` reads them; none means the shipped pool.

    Raises:
        InputError: A table cannot be read.
    """
    if not pools:
        return Database(shipped_pairs())
    return Database(join_tables([(path.name, read_pairs(path)) for path in pools]))


class Database:
    """Pairs with their indexes; an index is opened when it is first asked for.

    Attributes:
        pairs: The pool; keys are unique.
        digest: Names the pool's content.
        folder: Its folder in the cache; it may not exist, and it may not be writable.
    """

    def __init__(self, pairs: Sequence[Pair], *, cache: Path | None = None) -> None:
        self.pairs = tuple(pairs)
        self.digest = digest_pairs(self.pairs)
        self.folder = (cache or cache_folder()) / "pools" / self.digest
        self._opened: dict[str, object] = {}

    def molecule_index(self, fingerprint: Fingerprint, engine: Engine | None = None) -> MoleculeIndex:
        """The molecules' fingerprints; each molecule's key is its row in `pairs`, as text.

        Molecules that RDKit cannot read are left out, and a note on stderr says so.

        Args:
            fingerprint: What they are compared by.
            engine: Computes what is not in the cache; this process by default. The index is the same.
        """
        import rdkit

        from molindex.molecules import MoleculeIndex

        rejected: list[str] = []
        index = self._open_or_build(
            f"{str(fingerprint).replace(':', '-')}_rdkit-{rdkit.__version__}_v{FORMAT}",
            lambda path: MoleculeIndex.open(path, fingerprint),
            lambda: MoleculeIndex.build(
                ((str(row), pair.smiles) for row, pair in enumerate(self.pairs)),
                fingerprint=fingerprint,
                engine=engine,
                progress=messages().is_terminal,  # a bar in a log file is noise
                on_reject=lambda bad: rejected.append(f"{self.pairs[bad.number - 1].key}: {bad.reason}"),
            ),
        )
        _note_rejected(rejected, len(self.pairs), "molecules of the pool")
        return index

    def caption_index(self, tokenizer: Tokenizer) -> CaptionIndex:
        """The captions' words; each caption's key is its row in `pairs`, as text."""
        from molindex.captions import CaptionIndex

        rows = [(str(row), pair.caption) for row, pair in enumerate(self.pairs)]
        return self._open_or_build(
            f"bm25-{tokenizer}_bm25s-{version('bm25s')}_v{FORMAT}",
            lambda path: CaptionIndex.open(path),
            lambda: CaptionIndex.build(rows, tokenizer, progress=messages().is_terminal),
        )

    def rows_of(
        self, *, key: str | None = None, smiles: str | None = None, caption: str | None = None
    ) -> frozenset[int]:
        """Rows of the pool with this key, this very molecule (the same canonical isomeric SMILES) or this caption.

        A key that only says on which line of its table a row was is none.
        A text that RDKit does not read is the same molecule only as the same text.
        """
        rows: set[int] = set()
        if key is not None and not is_line_key(key) and (row := self._rows_by_key.get(key)) is not None:
            rows.add(row)
        if smiles is not None:
            rows.update(self._rows_by_molecule.get(_canonical(smiles), ()))
        if caption is not None:
            rows.update(row for row, pair in enumerate(self.pairs) if pair.caption.split() == caption.split())
        return frozenset(rows)

    @cached_property
    def _rows_by_key(self) -> dict[str, int]:
        return {pair.key: row for row, pair in enumerate(self.pairs)}

    @cached_property
    def _rows_by_molecule(self) -> dict[str, list[int]]:
        import rdkit

        path = self.folder / f"canonical_rdkit-{rdkit.__version__}_v{FORMAT}.json"
        rows: dict[str, list[int]] = {}
        for row, canonical in enumerate(self._read_canonical(path)):
            rows.setdefault(canonical, []).append(row)
        return rows

    def _read_canonical(self, path: Path) -> list[str]:
        """Canonical SMILES of the pool: three seconds for the shipped one, so they are kept as well."""
        from rich.progress import track

        with contextlib.suppress(OSError, ValueError):
            stored = json.loads(path.read_text("utf-8"))
            if isinstance(stored, list) and len(stored) == len(self.pairs):
                return [str(smiles) for smiles in stored]
        computed = [
            _canonical(pair.smiles)
            for pair in track(
                self.pairs, "canonical SMILES", console=messages(), transient=True, disable=not messages().is_terminal
            )
        ]
        with contextlib.suppress(unitlm.errors.InputError):
            write_text(path, json.dumps(computed))
        return computed

    def _open_or_build(self, name: str, open_index: Callable[[Path], _Index], build: Callable[[], _Index]) -> _Index:
        """An index from memory, from the cache, or a new one, which is kept where that is possible."""
        if name not in self._opened:
            self._opened[name] = self._find_or_build(self.folder / name, open_index, build)
        return cast("_Index", self._opened[name])

    def _find_or_build(self, path: Path, open_index: Callable[[Path], _Index], build: Callable[[], _Index]) -> _Index:
        if path.exists():
            # A damaged file, or one of an unfinished version, is built again and replaced.
            with contextlib.suppress(ValueError, OSError):
                return open_index(path)
        index = build()
        # A cache that cannot be written costs time at the next start, nothing else.
        with contextlib.suppress(ValueError, OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            index.save(path)
        return index


def _canonical(smiles: str) -> str:
    from molindex.smiles import SmilesError, canonical_smiles

    try:
        return canonical_smiles(smiles)
    except SmilesError:
        return smiles


@dataclass(frozen=True, slots=True)
class CachedIndex:
    """One index in the cache.

    Attributes:
        pool: Digest of its pool.
        name: What it depends on.
        size: Bytes on disk.
    """

    pool: str
    name: str
    size: int


def list_indexes() -> list[CachedIndex]:
    """What the cache holds, by pool and name."""
    return [
        CachedIndex(path.parent.name, path.name, path.stat().st_size)
        for path in sorted(cache_folder().glob("pools/*/[!.]*"))
    ]
