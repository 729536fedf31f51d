"""The recordings of a manifest as a list, which `speechunits extract` and the training of a codec read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyvoice.corpus.manifest import format_row, read_manifest
from polyvoice.errors import InputError
from speechunits.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

_SOURCE, _TARGET = 1, 4  # columns of a manifest's line


def list_recordings(manifest: Path, out: Path, split: str | None = None) -> int:
    """Write a table with a column `audio`: each recording once, in the manifest's order.

    A second column `speaker` says who speaks, if the manifest says it of any.

    Args:
        manifest: The pair manifest.
        out: The table. It lies beside the manifest, as stages look what was extracted up by the manifest's own names.
        split: Only the recordings of this split.

    Returns:
        How many recordings there are.

    Raises:
        InputError: The manifest cannot be read, there is no recording, or the table would lie elsewhere or be the
            manifest itself.
    """
    if out.parent.resolve() != manifest.parent.resolve():
        raise InputError(f"{out}: the list of {manifest} has to lie beside it, in {manifest.parent}")
    if out.resolve() == manifest.resolve():
        raise InputError(f"{out}: is the manifest itself; the list needs a name of its own")
    found: dict[str, str] = {}
    for row in read_manifest(manifest):
        if split in (None, row.split):
            cells = format_row(row, manifest.parent).split("\t")
            for name in (cells[_SOURCE], cells[_TARGET]):
                if name:
                    found[name] = found.get(name) or row.speaker or ""
    if not found:
        raise InputError(f"{manifest}: no recordings" + (f" of split {split}" if split is not None else ""))
    lines = (
        [("audio", "speaker"), *found.items()] if any(found.values()) else [("audio",), *((name,) for name in found)]
    )
    write_atomically(out, "".join("\t".join(cells) + "\n" for cells in lines).encode())
    return len(found)
