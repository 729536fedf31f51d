"""Known molecules without descriptions, and which of them are nearest to a given one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from molregpt.data.shipped import shipped_names, shipped_structures
from molregpt.database import Database
from molregpt.records import Pair
from molregpt.retrieval.molecules import FINGERPRINTS

if TYPE_CHECKING:
    from molindex.molecules import MoleculeIndex


@dataclass(frozen=True, slots=True)
class Near:
    """A known molecule.

    Attributes:
        smiles: The molecule.
        similarity: Dice similarity of Morgan fingerprints to what was asked for, 0 to 1.
    """

    smiles: str
    similarity: float


class Structures:
    """The molecules of a pool and those that are known besides; the index is opened when it is first asked for."""

    def __init__(self, pool: Database, others: Sequence[Pair], names: Mapping[str, str]) -> None:
        """Know the molecules of `pool` and `others`, some of which have systematic `names`, by SMILES."""
        self._tables = (pool, Database(others, cache=pool.folder.parent.parent))
        self._names = names

    @classmethod
    def beside(cls, pool: Database) -> Structures:
        """The molecules of a pool, and those that ship: 21,043 of ChEBI-20's train split."""
        return cls(pool, shipped_structures(), shipped_names())

    @property
    def identity(self) -> str:
        """Names what can be found."""
        return " and ".join(table.digest for table in self._tables)

    def name(self, smiles: str) -> str:
        """The systematic name that is known of a molecule; empty where none is."""
        return self._names.get(smiles, "")

    def near(self, smiles: str, count: int, withheld: str = "") -> list[Near]:
        """The known molecules that are nearest to one, the nearest first; itself among them.

        Args:
            smiles: A molecule that can be read.
            count: How many.
            withheld: A molecule that is not told, however it is written.
        """
        metric = FINGERPRINTS["morgan"][1]
        found: dict[str, float] = {}
        for table, index in zip(self._tables, self._indexes, strict=True):
            hidden = [str(row) for row in table.rows_of(smiles=withheld)] if withheld else []
            for near in index.search(smiles, count, metric=metric, exclude=hidden):
                found.setdefault(table.pairs[int(near.key)].smiles, near.similarity)
        ranked = sorted(found, key=lambda one: found[one], reverse=True)[:count]
        return [Near(one, found[one]) for one in ranked]

    @cached_property
    def _indexes(self) -> tuple[MoleculeIndex, ...]:
        return tuple(table.molecule_index(FINGERPRINTS["morgan"][0]) for table in self._tables)
