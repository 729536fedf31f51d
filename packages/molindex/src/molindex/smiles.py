"""SMILES in, molecule out; and when it cannot be read, RDKit's own reason in one line."""

from __future__ import annotations

import re

from rdkit import Chem, rdBase

from molindex.errors import InputError

_LOG_TIME = re.compile(r"^\[\d\d:\d\d:\d\d\] ")
_LOG_ECHO = re.compile(r" (while parsing: |for input: ').*$", re.DOTALL)
_LOG_POSITION = re.compile(r"check for mistakes around position (\d+)")
_SHOWN_CHARACTERS = 80
# RDKit needs minutes for 100,000 atoms, and more for 300,000 open brackets.
_LONGEST = 10_000

_UNSANITIZED = Chem.SmilesParserParams()
_UNSANITIZED.sanitize = False  # type: ignore[assignment]  # RDKit's stubs name a wrong type
_UNSANITIZED.removeHs = False  # type: ignore[assignment]
_FOR_MORGAN = Chem.SANITIZE_ALL & ~(
    Chem.SANITIZE_SETCONJUGATION
    | Chem.SANITIZE_SETHYBRIDIZATION
    | Chem.SANITIZE_CLEANUPCHIRALITY
    | Chem.SANITIZE_CLEANUPATROPISOMERS
)


class SmilesError(InputError):
    """A text that is not the SMILES of a molecule.

    Attributes:
        smiles: The text as given.
        reason: Why RDKit refuses it, one line, without the text itself.
    """

    def __init__(self, smiles: str, reason: str) -> None:
        self.smiles = smiles
        self.reason = reason
        shown = smiles if len(smiles) <= _SHOWN_CHARACTERS else smiles[:_SHOWN_CHARACTERS] + "..."
        super().__init__(f"not a SMILES that RDKit can read: {shown!r}: {reason}")

    def __reduce__(self) -> tuple[type[SmilesError], tuple[str, str]]:
        # The default rebuilds an exception from its message alone, which loses the reason on the way between processes.
        return type(self), (self.smiles, self.reason)


def parse_smiles(text: str) -> Chem.Mol:
    """Read one SMILES into a sanitized molecule. Nothing is printed to stderr.

    Args:
        text: One SMILES; white space around it is ignored. Doubled backslashes, as in the published ChEBI-20 tables,
            are read as single ones by RDKit itself.

    Raises:
        SmilesError: The text is empty or longer than 10,000 characters, holds white space inside (RDKit would silently
            drop what follows it) or anything but printable ASCII, has a syntax error, or describes one that RDKit
            cannot sanitize.
    """
    smiles = text.strip()
    if not smiles:
        raise SmilesError(text, "empty")
    if len(smiles.split(maxsplit=1)) > 1:
        raise SmilesError(text, "white space inside")
    if len(smiles) > _LONGEST:
        raise SmilesError(text, f"longer than {_LONGEST:,} characters")
    if not (smiles.isascii() and smiles.isprintable()):
        raise SmilesError(text, "a character that is not printable ASCII")
    # The order matters: BlockLogs silences warnings; the capture, opened inside it, still receives errors.
    with rdBase.BlockLogs(), rdBase.CaptureErrorLog() as log:
        mol = Chem.MolFromSmiles(smiles)
    if mol is None:
        raise SmilesError(text, reason_from_log(log.messages))
    return mol


def parse_smiles_for_morgan(text: str) -> Chem.Mol:
    """As `parse_smiles`, in two thirds of the time, for nothing but Morgan fingerprints without chirality.

    Hybridization, conjugation and stereochemistry, on which they do not depend, are not perceived. What needs more than
    that (explicit hydrogens, which are removed; anything that RDKit refuses) is left to `parse_smiles`. Call it within
    `rdBase.BlockLogs()`: RDKit would warn on stderr.

    Raises:
        SmilesError: As `parse_smiles`.
    """
    if (
        len(text) <= _LONGEST
        and text.isascii()
        and text.isprintable()
        and " " not in text
        and "[H" not in text
        and text
    ):
        mol = Chem.MolFromSmiles(text, _UNSANITIZED)
        if mol is not None and Chem.SanitizeMol(mol, _FOR_MORGAN, catchErrors=True) == Chem.SANITIZE_NONE:
            return mol
    return parse_smiles(text)


def canonical_smiles(text: str) -> str:
    """RDKit's canonical isomeric SMILES of one SMILES.

    Raises:
        SmilesError: As `parse_smiles`.
    """
    return str(Chem.MolToSmiles(parse_smiles(text)))


def reason_from_log(messages: str) -> str:
    """The first line of RDKit's log, without its time stamp and the echoed input, with the position if one is named."""
    lines = [_LOG_TIME.sub("", line) for line in messages.splitlines() if line.strip()]
    if not lines:
        return "RDKit gave no reason"
    reason = " ".join(_LOG_ECHO.sub("", lines[0]).split())
    position = _LOG_POSITION.search(messages)
    return f"{reason}, around position {position[1]}" if position else reason
