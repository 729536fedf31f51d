"""Which fingerprint, with which parameters, and how its bits are packed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol, cast, get_args

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator, rdMolDescriptors

from molindex.errors import InputError

Kind = Literal["morgan", "rdkit", "maccs"]
_MACCS_BITS = 167


class _Generator(Protocol):
    def GetFingerprint(self, mol: Chem.Mol) -> DataStructs.ExplicitBitVect: ...  # noqa: N802 - RDKit's name


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A fingerprint and its parameters; two are equal when they give equal bits.

    Attributes:
        kind: `morgan` (circular, ECFP-like), `rdkit` (linear and branched paths of up to 7 bonds, two bits each: what
            `Chem.RDKFingerprint` gives) or `maccs` (the 166 public MACCS keys, RDKit's numbering).
        radius: Of `morgan`, in bonds: 2 is ECFP4. Others have none: it is set to 0.
        size: Bits, a multiple of 64. `maccs` always has 167 (bit 0 is never set).
    """

    kind: Kind = "morgan"
    radius: int = 2
    size: int = 2048

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise InputError(f"unknown fingerprint {self.kind!r}; known are {', '.join(get_args(Kind))}")
        # Parameters that a kind does not have are set to one value, so that equality means equal bits.
        if self.kind == "maccs":
            object.__setattr__(self, "size", _MACCS_BITS)
        elif self.size < 64 or self.size % 64:
            raise InputError(f"fingerprint size must be a positive multiple of 64, got {self.size}")
        if self.kind != "morgan":
            object.__setattr__(self, "radius", 0)
        elif self.radius < 0:
            raise InputError(f"fingerprint radius must not be negative, got {self.radius}")

    def __str__(self) -> str:
        return f"{self.kind}:{self.radius}:{self.size}"

    @classmethod
    def parse(cls, text: str) -> Fingerprint:
        """The inverse of `str`: `morgan:2:2048`.

        Raises:
            InputError: The text is not a fingerprint's.
        """
        kind, *numbers = text.split(":")
        if len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
            raise InputError(f"not a fingerprint: {text!r}")
        return cls(cast("Kind", kind), int(numbers[0]), int(numbers[1]))

    @property
    def packed_bytes(self) -> int:
        """Bytes of one packed fingerprint: the size rounded up to whole 64-bit words."""
        return -(-self.size // 64) * 8

    def of(self, mol: Chem.Mol) -> DataStructs.ExplicitBitVect:
        """The fingerprint of one molecule, equal to the direct RDKit call."""
        if self.kind == "maccs":
            return cast("DataStructs.ExplicitBitVect", rdMolDescriptors.GetMACCSKeysFingerprint(mol))
        return _generator(self).GetFingerprint(mol)

    def pack(self, mols: Iterable[Chem.Mol]) -> NDArray[np.uint8]:
        """Fingerprints as bytes, lowest bit first.

        Args:
            mols: N molecules.

        Returns:
            uint8 of shape [N, packed_bytes], padded with zero bits.
        """
        return self.pack_vectors(self.of(mol) for mol in mols)

    def pack_vectors(self, vectors: Iterable[DataStructs.ExplicitBitVect]) -> NDArray[np.uint8]:
        """As `pack`, of N fingerprints that were already computed; shape [N, packed_bytes]."""
        rows = [DataStructs.BitVectToBinaryText(vector).ljust(self.packed_bytes, b"\0") for vector in vectors]
        return np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(len(rows), self.packed_bytes)


@lru_cache(maxsize=16)
def _generator(fingerprint: Fingerprint) -> _Generator:
    # Made once a process and never passed between processes: RDKit's generators cannot be pickled.
    if fingerprint.kind == "morgan":
        generator = rdFingerprintGenerator.GetMorganGenerator(radius=fingerprint.radius, fpSize=fingerprint.size)
    else:
        generator = rdFingerprintGenerator.GetRDKitFPGenerator(fpSize=fingerprint.size)
    return cast("_Generator", generator)
