"""Several pair manifests to one, and a look at what leaks from training to testing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from polyvoice.corpus.manifest import PairRow, read_manifest, write_manifest
from polyvoice.corpus.splits import normalize_sentence
from polyvoice.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_NAMED = 3  # so many leaks are named in a message


@dataclass(frozen=True, slots=True)
class Leak:
    """A training row that says what a test row says.

    Attributes:
        train: The id of the row of split `train` or `dev`.
        test: The id of a row of split `test` with the same sentence.
        text: The sentence, as the training row has it.
    """

    train: str
    test: str
    text: str

    def __str__(self) -> str:
        return f"{self.train} and {self.test} ({self.text!r})"


@dataclass(frozen=True, slots=True)
class MergeSummary:
    """What was written.

    Attributes:
        manifest: The merged manifest.
        rows: Its rows.
        renamed: Rows whose id another manifest had already used.
        dropped: Training rows that were left out because a test row says the same.
    """

    manifest: Path
    rows: int
    renamed: int
    dropped: int

    def __str__(self) -> str:
        return f"{self.manifest}: {self.rows:,} rows, {self.renamed:,} renamed, {self.dropped:,} dropped as leaks"


def merge_manifests(manifests: Sequence[Path], out: Path, *, drop_leaks: bool = False) -> MergeSummary:
    """Write the rows of several manifests into one, in their order.

    A row whose id an earlier manifest has gets the first free one of `ID@2`, `ID@3`, ... Audio paths stay where they
    are and become relative to the new manifest.

    Args:
        manifests: What to merge.
        out: The manifest to write.
        drop_leaks: Leave out rows of train and dev that say, in either language, what a test row says. By default
            they are an error.

    Raises:
        InputError: A manifest cannot be read, rows leak, nothing is left, or `out` cannot be written.
    """
    if not manifests:
        raise InputError("no manifest is given")
    rows: list[PairRow] = []
    ids: set[str] = set()
    renamed = 0
    for manifest in manifests:
        # Ids that this manifest itself has are taken too, else a new name could meet one of them.
        found = read_manifest(manifest)
        taken = ids | {row.id for row in found}
        for row in found:
            kept = row if row.id not in ids else replace(row, id=_free_id(row.id, taken))
            renamed += kept.id != row.id
            taken.add(kept.id)
            rows.append(kept)
        ids = taken
    leaks = find_leaks(rows)
    if leaks and not drop_leaks:
        named = "; ".join(str(leak) for leak in leaks[:_NAMED])
        more = f"; and {len(leaks) - _NAMED} more" if len(leaks) > _NAMED else ""
        raise InputError(f"{len(leaks)} sentences of train or dev are in test too: {named}{more}")
    leaking = {leak.train for leak in leaks}
    kept_rows = [row for row in rows if row.id not in leaking]
    if not kept_rows:
        raise InputError("every row leaks: nothing is left")
    write_manifest(out, kept_rows)
    return MergeSummary(out, len(kept_rows), renamed, len(leaking))


def find_leaks(rows: Sequence[PairRow]) -> list[Leak]:
    """Rows of train and dev one of whose sentences, in the same language, is in a test row.

    Case, punctuation and spacing do not count. Rows without text cannot be compared.
    """
    tested = {sentence: row.id for row in rows if row.split == "test" for sentence, _ in _sentences(row)}
    leaks = []
    for row in rows:
        if row.split != "test":
            leaks += [Leak(row.id, tested[key], text) for key, text in _sentences(row) if key in tested][:1]
    return leaks


def _sentences(row: PairRow) -> Iterator[tuple[tuple[str, str], str]]:
    for language, text in ((row.source_lang, row.source_text), (row.target_lang, row.target_text)):
        if text is not None:
            yield (language, normalize_sentence(text)), text


def _free_id(taken_id: str, taken: set[str]) -> str:
    number = 2
    while f"{taken_id}@{number}" in taken:
        number += 1
    return f"{taken_id}@{number}"
