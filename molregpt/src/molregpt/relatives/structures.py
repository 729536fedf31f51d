"""Known molecules, which need no descriptions: those that are nearest to a given one, and those whose name is said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from molregpt.data.shipped import shipped_names, shipped_structures
from molregpt.database import Database
from molregpt.fingerprints import FINGERPRINTS
from molregpt.records import Pair

if TYPE_CHECKING:
    from molindex.captions import CaptionIndex
    from molindex.engine import Engine
    from molindex.molecules import MoleculeIndex
    from molindex.neighbours import Neighbour


@dataclass(frozen=True, slots=True)
class Known:
    """A known molecule that a search found.

    Attributes:
        smiles: The molecule.
        similarity: To what was asked for, in the scale of the search.
    """

    smiles: str
    similarity: float


class Structures:
    """The molecules of a pool and those that are known besides; indexes are opened when they are first asked for."""

    def __init__(self, pool: Database, others: Sequence[Pair], names: Mapping[str, str]) -> None:
        """Know the molecules of `pool` and `others`, some of which have systematic `names`, by SMILES."""
        self._names = names
        # In these tables the name stands where a pool has the description. They are two, so that the indexes of what
        # ships need not be built again for every pool.
        self._pool_names, self._others = (
            Database(
                [Pair(pair.key, pair.smiles, names.get(pair.smiles, "")) for pair in pairs],
                cache=pool.folder.parent.parent,
            )
            for pairs in (pool.pairs, others)
        )
        self._pool = pool

    @classmethod
    def beside(cls, pool: Database) -> Structures:
        """The molecules of a pool, and those that ship: 21,043 of ChEBI-20's train split."""
        return cls(pool, shipped_structures(), shipped_names())

    def name(self, smiles: str) -> str:
        """The systematic name that is known of a molecule; empty where none is."""
        return self._names.get(smiles, "")

    def near(self, smiles: str, count: int) -> list[Known]:
        """The molecules that are nearest to one, by Morgan fingerprints and Dice similarity; itself among them.

        Args:
            smiles: A molecule that can be read.
            count: How many.
        """
        metric = FINGERPRINTS["morgan"][1]
        found = (
            (table, index.search(smiles, count, metric=metric))
            for table, index in zip((self._pool, self._others), self._by_fingerprint, strict=True)
        )
        return _best(count, found)

    def named_like(self, text: str, count: int) -> list[Known]:
        """The molecules whose names have most in common with a text, by BM25 over pieces of five characters.

        Args:
            text: A description.
            count: How many.
        """
        found = (
            (table, index.search(text, count))
            for table, index in zip((self._pool_names, self._others), self._by_name, strict=True)
        )
        return _best(count, found)

    def build_indexes(self, engine: Engine | None = None) -> None:
        """Build what the searches need, so that no later one waits.

        Args:
            engine: Computes fingerprints; this process by default.
        """
        for table in (self._pool, self._others):
            table.molecule_index(FINGERPRINTS["morgan"][0], engine)
        for table in (self._pool_names, self._others):
            table.caption_index("pieces")

    @cached_property
    def _by_fingerprint(self) -> tuple[MoleculeIndex, ...]:
        return tuple(table.molecule_index(FINGERPRINTS["morgan"][0]) for table in (self._pool, self._others))

    @cached_property
    def _by_name(self) -> tuple[CaptionIndex, ...]:
        return tuple(table.caption_index("pieces") for table in (self._pool_names, self._others))


def _best(count: int, found: Iterable[tuple[Database, Sequence[Neighbour]]]) -> list[Known]:
    best: dict[str, float] = {}
    for table, neighbours in found:
        for one in neighbours:
            if one.similarity > 0.0:
                best.setdefault(table.pairs[int(one.key)].smiles, one.similarity)
    ranked = sorted(best, key=lambda smiles: best[smiles], reverse=True)[:count]
    return [Known(smiles, best[smiles]) for smiles in ranked]
