"""SDF records, one at a time, so that a bad one is named and the rest still read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rdkit import Chem, rdBase

from molindex.smiles import reason_from_log

_END_OF_RECORD = "$$$$"


@dataclass(frozen=True, slots=True)
class SdfRecord:
    """One readable record: canonical SMILES, title line and data fields by name."""

    smiles: str
    title: str
    fields: dict[str, str]


def records(lines: Iterable[str]) -> Iterator[str]:
    """The text of each record, without its end mark; a last record that lacks the mark counts, blank lines do not."""
    held: list[str] = []
    for line in lines:
        if line.startswith(_END_OF_RECORD):
            yield "".join(held)
            held = []
        else:
            held.append(line)
    if "".join(held).strip():
        yield "".join(held)


def molecule_of(record: str) -> SdfRecord | str:
    """Read one record; a string is the reason why it cannot be read, in one line."""
    supplier = Chem.SDMolSupplier()
    with rdBase.BlockLogs(), rdBase.CaptureErrorLog() as log:
        # The blank line ends the last field of a file that stops without one.
        supplier.SetData(f"{record}\n{_END_OF_RECORD}\n")
        mol = next(iter(supplier), None)
    if mol is None:
        return reason_from_log(log.messages)
    if not mol.GetNumAtoms():
        return "no atoms"
    fields = {name: mol.GetProp(name).strip() for name in mol.GetPropNames()}
    return SdfRecord(str(Chem.MolToSmiles(mol)), record.partition("\n")[0].strip(), fields)
