"""The full ChEBI-20 splits: fetched from the repository of MolT5 or taken from a folder, checked, written as tables.

ChEBI-20 (Edwards et al., EMNLP 2021) has 26,407 train, 3,301 validation and 3,300 test rows; the train split is also
in circulation with up to 26,409.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from molregpt.data.table import read_pairs, read_table
from molregpt.errors import InputError
from molregpt.files import make_folder
from unitlm.files import write_bytes, write_text

if TYPE_CHECKING:
    import httpx
    from rich.progress import Progress

    from molregpt.records import Pair

PUBLISHED_URL = "https://raw.githubusercontent.com/blender-nlp/MolT5/main/ChEBI-20_data"
"""Where the authors of MolT5 publish the splits, as `{split}.txt`."""

_SPLIT_ROWS = {"train": range(26_407, 26_410), "validation": range(3_301, 3_302), "test": range(3_300, 3_301)}
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """One split as it was written.

    Attributes:
        name: `train`, `validation` or `test`.
        path: The table.
        rows: Its rows.
        doubled_backslashes: Rows whose SMILES had doubled backslashes; they are written as single ones.
        unreadable: Keys of rows whose SMILES RDKit cannot read.
    """

    name: str
    path: Path
    rows: int
    doubled_backslashes: int
    unreadable: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """What an import wrote and found.

    Attributes:
        splits: Train, validation and test.
        leaked: Keys of test rows whose molecule (RDKit's canonical isomeric SMILES) is also in train or validation.
    """

    splits: tuple[SplitSummary, ...]
    leaked: tuple[str, ...]

    def __str__(self) -> str:
        lines = [
            f"{split.path}: {split.rows:,} rows, {split.doubled_backslashes} with doubled backslashes made single, "
            f"{len(split.unreadable)} unreadable SMILES"
            for split in self.splits
        ]
        leaked = f"{len(self.leaked)} test molecules are also in train or validation"
        return "\n".join([*lines, leaked + (f", the first with key {self.leaked[0]}" if self.leaked else "")])


def import_chebi20(source: Path | None, out_dir: Path, *, client: httpx.Client | None = None) -> ImportSummary:
    """Write `train.tsv`, `validation.tsv` and `test.tsv` from the published splits.

    Args:
        source: A folder with `train`, `validation` and `test`, each `.txt` or `.tsv`; None downloads them.
        out_dir: The folder to write to; made when missing.
        client: What to download with; a plain one by default.

    Returns:
        What was written and what the checks found.

    Raises:
        InputError: A split is missing, cannot be fetched, is damaged or has a wrong number of rows.
    """
    make_folder(out_dir)
    if source is not None:
        files = {name: _find_split(source, name) for name in _SPLIT_ROWS}
    else:
        files = _download(out_dir / "published", client)
    contents = {name: _read_split(path, _SPLIT_ROWS[name]) for name, path in files.items()}
    canonical = _canonicalize({name: pairs for name, (pairs, _) in contents.items()})
    splits = []
    for name, (pairs, doubled) in contents.items():
        path = out_dir / f"{name}.tsv"
        _write_split(path, pairs)
        unreadable = tuple(pair.key for pair, smiles in zip(pairs, canonical[name], strict=True) if smiles is None)
        splits.append(SplitSummary(name, path, len(pairs), doubled, unreadable))
    known = {smiles for name in ("train", "validation") for smiles in canonical[name] if smiles is not None}
    test, _ = contents["test"]
    leaked = tuple(pair.key for pair, smiles in zip(test, canonical["test"], strict=True) if smiles in known)
    return ImportSummary(tuple(splits), leaked)


def _find_split(folder: Path, name: str) -> Path:
    for suffix in (".txt", ".tsv"):
        if (path := folder / f"{name}{suffix}").is_file():
            return path
    raise InputError(f"{folder}: neither {name}.txt nor {name}.tsv is there")


def _read_split(path: Path, expected: range) -> tuple[list[Pair], int]:
    """The pairs of a published split, and in how many of them backslashes were doubled."""
    pairs = read_pairs(path)
    if len(pairs) not in expected:
        known = f"{expected[0]:,}" if len(expected) == 1 else f"{expected[0]:,} to {expected[-1]:,}"
        raise InputError(f"{path}: {len(pairs):,} rows, but the published split has {known}")
    table = read_table(path)
    smiles_at = table.require("SMILES")
    return pairs, sum("\\\\" in row.cells[smiles_at] for row in table.rows)


def _write_split(path: Path, pairs: list[Pair]) -> None:
    rows = (f"{pair.key}\t{pair.smiles}\t{pair.caption}\n" for pair in pairs)
    write_text(path, "CID\tSMILES\tdescription\n" + "".join(rows))


def _canonicalize(splits: dict[str, list[Pair]]) -> dict[str, list[str | None]]:
    """Each row's canonical isomeric SMILES, None where RDKit cannot read the molecule."""
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs(), _progress() as progress:
        canonical: dict[str, list[str | None]] = {}
        for name, pairs in splits.items():
            molecules = (Chem.MolFromSmiles(pair.smiles) for pair in progress.track(pairs, description=f"check {name}"))
            canonical[name] = [Chem.MolToSmiles(molecule) if molecule is not None else None for molecule in molecules]
    return canonical


def _download(folder: Path, client: httpx.Client | None) -> dict[str, Path]:
    """Fetch the published splits into `folder`, whole or not at all."""
    import httpx

    make_folder(folder)
    files = {}
    with ExitStack() as stack:
        progress = stack.enter_context(_progress())
        # A client that the caller brought stays open.
        session = client or stack.enter_context(
            httpx.Client(follow_redirects=True, timeout=_TIMEOUT_S, transport=httpx.HTTPTransport(retries=3))
        )
        for name in _SPLIT_ROWS:
            files[name] = folder / f"{name}.txt"
            url = f"{PUBLISHED_URL}/{name}.txt"
            try:
                write_bytes(files[name], _fetch(session, url, progress))
            except httpx.HTTPStatusError as error:
                raise InputError(f"{url}: the server answered {error.response.status_code}") from None
            except httpx.HTTPError as error:
                reason = str(error) or type(error).__name__
                raise InputError(f"{url}: cannot be fetched ({reason}); a local folder can be given instead") from None
    return files


def _fetch(session: httpx.Client, url: str, progress: Progress) -> bytes:
    with session.stream("GET", url) as response:
        response.raise_for_status()
        length = response.headers.get("content-length")
        task = progress.add_task(url.rsplit("/", 1)[-1], total=int(length) if length else None)
        content = bytearray()
        for chunk in response.iter_bytes():
            content += chunk
            # The length is that of the compressed body, so progress counts what came over the wire.
            progress.update(task, completed=response.num_bytes_downloaded)
        progress.update(task, total=response.num_bytes_downloaded)
    return bytes(content)


def _progress() -> Progress:
    from rich.progress import Progress

    from molregpt.console import messages

    return Progress(console=messages(), transient=True)
