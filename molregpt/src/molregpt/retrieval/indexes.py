"""Every index that the strategies search, built ahead of time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from molregpt.database import open_database
from molregpt.files import make_folder
from molregpt.retrieval.captions import TOKENIZERS
from molregpt.retrieval.molecules import FINGERPRINTS


def build_indexes(pools: Sequence[Path] = ()) -> None:
    """Build every index that retrieval may need of a pool, so that no later command waits.

    Args:
        pools: Tables; none means the shipped pool.

    Raises:
        InputError: A table cannot be read, or the cache cannot be written.
    """
    database = open_database(pools)
    make_folder(database.folder)
    for fingerprint, _ in FINGERPRINTS.values():
        database.molecule_index(fingerprint)
    for tokenizer in TOKENIZERS.values():
        database.caption_index(tokenizer)
    database.rows_of(smiles="C")
