"""The example database and the sample questions that ship with the package."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from molregpt.assets import asset
from molregpt.data.table import read_names, read_pairs, read_table

if TYPE_CHECKING:
    from molregpt.records import Pair

_STRUCTURES = "chebi20_structures.tsv.gz"


def shipped_pairs() -> list[Pair]:
    """The example database: 8,612 pairs of the ChEBI-20 train and validation splits.

    No test molecule of ChEBI-20 is among them. `source` is `validation`, or `train/` and the collection from which the
    description was recovered (see `assets/chebi20.LICENSE.md`).
    """
    return read_pairs(asset("chebi20_pool.tsv.gz"))


def shipped_structures() -> list[Pair]:
    """The 21,043 molecules of the ChEBI-20 train split whose descriptions are not in the example database.

    No test molecule of ChEBI-20 is among them, by CID, canonical SMILES or InChI. The captions are empty.
    """
    from molregpt.records import Pair

    table = read_table(asset(_STRUCTURES))
    key, smiles = table.require("CID"), table.require("SMILES")
    return [Pair(row.cells[key], row.cells[smiles], "") for row in table.rows]


def digest_structures() -> str:
    """Names the table of `shipped_structures`: 8 hex digits of SHA-256."""
    return hashlib.sha256(asset(_STRUCTURES).read_bytes()).hexdigest()[:8]


def shipped_names() -> dict[str, str]:
    """Systematic names of the shipped molecules, described or not, by SMILES; those of some are empty."""
    return read_names(asset("chebi20_pool.tsv.gz")) | read_names(asset(_STRUCTURES))


def sample_pairs() -> list[Pair]:
    """A hundred questions with their reference answers, from the ChEBI-20 test split.

    They are the rows whose SHA-256 of the CID is smallest: a fixed choice that looks at nothing but the CID.
    """
    return read_pairs(asset("chebi20_samples.tsv"))
