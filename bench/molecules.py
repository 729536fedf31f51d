"""Molecules to search: MOSES, and as many more as are wanted, made from it."""

from __future__ import annotations

import csv
import gzip
import hashlib
from functools import lru_cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rdkit import rdBase

from bench.suite import CannotMeasure
from molindex.exact import SortedFingerprints
from molindex.fingerprints import Fingerprint
from molindex.molecules import MoleculeIndex
from molindex.storage import Provenance
from molindex.strings import KeyLookup, PackedStrings

MORGAN = {"radius": 2, "fpSize": 2048}
_WORKERS = 2
# So that a made molecule is to its origin what a close analogue is: Dice about 0.85.
_CHANGED_SHARE = 0.15
_SEED = 20
_MADE_AT_ONCE = 8_192


@lru_cache(maxsize=1)
def read_moses() -> list[str]:
    """All SMILES of the training set of MOSES (arXiv 1811.12823) as the package `molsets` carries it: 1,584,663.

    Raises:
        CannotMeasure: the package is not there.
    """
    found = find_spec("moses")
    if found is None or not found.submodule_search_locations:
        raise CannotMeasure("molsets, which carries the molecules, is not installed")
    path = Path(found.submodule_search_locations[0]) / "dataset" / "data" / "train.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        return [row["SMILES"] for row in csv.DictReader(stream)]


@lru_cache(maxsize=1)
def fingerprint_moses(count: int) -> NDArray[np.uint8]:
    """Morgan fingerprints of the first molecules of MOSES, uint8 [count, 256]."""
    keys = ((str(row), smiles) for row, smiles in enumerate(islice(read_moses(), count)))
    built = MoleculeIndex.build(keys, workers=_WORKERS if count > 50_000 else 1)
    return restore_order(built)


def restore_order(index: MoleculeIndex) -> NDArray[np.uint8]:
    """The fingerprints of an index in row order, uint8 [N, W]."""
    fingerprints = index._fingerprints
    codes = np.empty_like(fingerprints.codes)
    codes[fingerprints.rows] = fingerprints.codes
    return codes


def make_codes(known: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Fingerprints of `count` molecules, uint8 [count, W]: the known ones [N, W], then changed copies of them.

    Of a copy's bits, 15 % are taken over from another known molecule, drawn at random: common bits stay common, and the
    numbers of set bits stay what they were. Made for more molecules than MOSES has.
    """
    if count <= len(known):
        return known[:count]
    random = np.random.default_rng(_SEED)
    codes = np.empty((count, known.shape[1]), np.uint8)
    codes[: len(known)] = known
    for begin in range(len(known), count, _MADE_AT_ONCE):
        end = min(begin + _MADE_AT_ONCE, count)
        origins = known[np.arange(begin, end) % len(known)]
        others = known[random.integers(0, len(known), end - begin)]
        drawn = random.integers(0, 256, (end - begin, 8 * known.shape[1]), np.uint8)
        changed = np.packbits(drawn < _CHANGED_SHARE * 256, axis=1)
        codes[begin:end] = (origins & ~changed) | (others & changed)
    return codes


def make_index(codes: NDArray[np.uint8]) -> MoleculeIndex:
    """A searchable index of fingerprints [N, W]; the key of a molecule is its row."""
    keys = PackedStrings.pack(list(map(str, range(len(codes)))))
    digest = hashlib.sha256(codes[:1_000].tobytes()).hexdigest()
    made = Provenance("molecules", str(Fingerprint()), f"rdkit {rdBase.rdkitVersion}", len(codes), 0, digest)
    return MoleculeIndex(KeyLookup.sort(keys), SortedFingerprints.sort(codes), made)


def pick_rows(count: int, wanted: int) -> list[int]:
    """Rows evenly spread among those of MOSES, to ask for."""
    last = min(count, len(read_moses())) - 1
    return [int(row) for row in np.linspace(0, last, wanted)]
