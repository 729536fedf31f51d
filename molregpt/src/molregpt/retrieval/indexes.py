"""Every index that the strategies search, built ahead of time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from molregpt.database import open_database
from molregpt.files import make_folder
from molregpt.fingerprints import FINGERPRINTS
from molregpt.relatives.structures import Structures
from molregpt.retrieval.captions import TOKENIZERS

if TYPE_CHECKING:
    from molindex.engine import Engine


def build_indexes(pools: Sequence[Path] = (), engine: Engine | None = None) -> None:
    """Build every index that retrieval may need of a pool, so that no later command waits.

    Args:
        pools: Tables; none means the shipped pool.
        engine: Computes fingerprints; this process by default.

    Raises:
        InputError: A table cannot be read, or the cache cannot be written.
    """
    database = open_database(pools)
    make_folder(database.folder)
    for fingerprint, _ in FINGERPRINTS.values():
        database.molecule_index(fingerprint, engine)
    for tokenizer in TOKENIZERS.values():
        database.caption_index(tokenizer)
    database.rows_of(smiles="C")
    Structures.beside(database).build_indexes(engine)
