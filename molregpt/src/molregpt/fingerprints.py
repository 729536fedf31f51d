"""The fingerprints by which molecules are compared, and how."""

from __future__ import annotations

from typing import Literal

from molindex.fingerprints import Fingerprint

Metric = Literal["dice", "tanimoto"]

FINGERPRINTS: dict[str, tuple[Fingerprint, Metric]] = {
    # The paper's text: Morgan fingerprints compared by Dice (arXiv 2306.06615, section 3.1).
    "morgan": (Fingerprint("morgan", radius=2, size=2048), "dice"),
    # Its released code: `--m2c_method morgan` calls RDKFingerprint and FingerprintSimilarity, that is Tanimoto.
    "rdkit": (Fingerprint("rdkit", size=2048), "tanimoto"),
}
