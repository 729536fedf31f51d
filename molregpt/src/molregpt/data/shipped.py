"""The example database and the sample questions that ship with the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from molregpt.assets import asset
from molregpt.data.table import read_names, read_pairs

if TYPE_CHECKING:
    from molregpt.records import Pair


def shipped_pairs() -> list[Pair]:
    """The example database: 8,612 pairs of the ChEBI-20 train and validation splits.

    No test molecule of ChEBI-20 is among them. `source` is `validation`, or `train/` and the collection from which the
    description was recovered (see `assets/chebi20.LICENSE.md`).
    """
    return read_pairs(asset("chebi20_pool.tsv.gz"))


def shipped_names() -> dict[str, str]:
    """Systematic names of the example database's molecules, by SMILES; those of a few are empty."""
    return read_names(asset("chebi20_pool.tsv.gz"))


def sample_pairs() -> list[Pair]:
    """A hundred questions with their reference answers, from the ChEBI-20 test split.

    They are the rows whose SHA-256 of the CID is smallest: a fixed choice that looks at nothing but the CID.
    """
    return read_pairs(asset("chebi20_samples.tsv"))
