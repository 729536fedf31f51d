"""IUPAC-like names of molecules from their structure alone, by the rules of `openclatura`.

The names give a language model words for structures that no caption describes. They are made ahead of time, once a
table: a name takes 0.07 s on average, some take seconds, and a few never end.
"""

from __future__ import annotations

import signal
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from molregpt.data.table import CHEBI20_COLUMNS, is_line_key, line_key, read_table, single_backslashes
from molregpt.errors import InputError
from unitlm.append_only import AppendOnlyLines

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from pathlib import Path
    from types import FrameType, TracebackType
    from typing import Self

    Namer = Callable[[str], "Naming"]

TIMEOUT_S = 5.0
"""When a molecule is given up; of ChEBI-20's train molecules, none of 150 drawn took longer than 1.5 s."""

_NAMES_HEADER = ("CID", "SMILES", "name", "audit")
_FAILURES_HEADER = ("CID", "SMILES", "reason")
_CHUNK = 16


@dataclass(frozen=True, slots=True)
class Naming:
    """What became of one molecule.

    Attributes:
        name: Its name; empty when there is none.
        note: With a name, openclatura's verdict after rebuilding the structure from it: `confirmed`, `abstained` (it
            cannot rebuild such a structure), `mismatch` or `error`. Else, why there is no name.
    """

    name: str
    note: str


@dataclass(frozen=True, slots=True)
class NamesSummary:
    """What a run wrote and found.

    Attributes:
        path: The table of names: CID, SMILES, name, audit.
        failures_path: The table of molecules without one: CID, SMILES, reason.
        named: Rows of the first.
        failed: Rows of the second.
        skipped: How many of both an earlier run had written.
    """

    path: Path
    failures_path: Path
    named: int
    failed: int
    skipped: int

    def __str__(self) -> str:
        lines = [f"{self.path}: {self.named:,} names", f"{self.failures_path}: {self.failed:,} molecules without one"]
        return "\n".join(lines + [f"{self.skipped:,} rows were there already"] * bool(self.skipped))


def read_molecules(path: Path) -> list[tuple[str, str]]:
    """Keys and SMILES, with single backslashes, of a table that needs no other column than SMILES.

    Raises:
        InputError: The file cannot be read, has no column SMILES, or a SMILES is empty.
    """
    table = read_table(path)
    key_at, smiles_at = table.find(CHEBI20_COLUMNS.key), table.require(CHEBI20_COLUMNS.smiles)
    return [
        (
            (row.cells[key_at].strip() if key_at is not None else "") or line_key(row.number),
            single_backslashes(table.cell(row, smiles_at)),
        )
        for row in table.rows
    ]


def build_names(
    smiles: Iterable[tuple[str, str]],
    out: Path,
    workers: int,
    *,
    namer: Namer | None = None,
    timeout_s: float = TIMEOUT_S,
) -> NamesSummary:
    """Name molecules into a table, in their order; a run that was killed goes on where it stopped.

    Molecules without a name go to a second table beside it, `NAME.failed.tsv` for `NAME.tsv`. A molecule in either is
    not tried again.

    Args:
        smiles: Key and SMILES of each; of several with the same key, the first counts.
        out: The table of names.
        workers: Processes that name at the same time.
        namer: What names a SMILES, openclatura by default; it is sent to the workers.
        timeout_s: Seconds after which a molecule is given up (not on Windows, which has no interval timers).

    Raises:
        InputError: `workers` is not positive, a table cannot be written or holds something else, or another run is
            writing to it.
    """
    if workers < 1:
        raise InputError(f"names need at least one worker, not {workers}")
    namer = namer or _name_by_rules
    failures_path = out.with_name(f"{out.stem}.failed.tsv")
    with _AppendedTable(out, _NAMES_HEADER) as names, _AppendedTable(failures_path, _FAILURES_HEADER) as failures:
        skipped = len(names.keys) + len(failures.keys)
        waiting: dict[str, tuple[str, str]] = {}
        for key, text in smiles:
            same = _identify(key, text)
            if same not in names.keys and same not in failures.keys:
                waiting.setdefault(same, (key, text))
        _name_rows(waiting.values(), names, failures, partial(_attempt, namer, timeout_s), workers)
        return NamesSummary(out, failures_path, len(names.keys), len(failures.keys), skipped)


def _name_rows(
    waiting: Collection[tuple[str, str]],
    names: _AppendedTable,
    failures: _AppendedTable,
    attempt: Callable[[str], Naming],
    workers: int,
) -> None:
    from rich.progress import MofNCompleteColumn, Progress

    from molregpt.console import messages

    with ProcessPoolExecutor(workers) as pool:
        # The workers are forked by the first task, before the progress bar has started a thread of its own.
        namings = pool.map(attempt, [text for _, text in waiting], chunksize=_CHUNK)
        columns = (*Progress.get_default_columns(), MofNCompleteColumn())
        with Progress(*columns, console=messages(), transient=True) as progress:
            rows = zip(waiting, namings, strict=True)
            try:
                for (key, smiles), naming in progress.track(rows, total=len(waiting), description="names"):
                    if naming.name:
                        names.append(key, smiles, naming.name, naming.note)
                    else:
                        failures.append(key, smiles, naming.note)
            except BaseException:
                # Else an interrupted run would first name all the rest, which nobody would then write.
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _identify(key: str, smiles: str) -> str:
    """What tells a molecule from others: its key, or itself where the key only says on which line it was."""
    return smiles if is_line_key(key) else key


class _TimedOut(BaseException):
    """Not an Exception: openclatura catches those, and would take the time-out for a rule that does not apply."""


def _attempt(namer: Namer, timeout_s: float, smiles: str) -> Naming:
    """Name one molecule in the time it has; runs in a worker's main thread, where alarms arrive."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _TimedOut

    if sys.platform == "win32":
        return namer(smiles)
    signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, timeout_s)
        try:
            return namer(smiles)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
    except _TimedOut:
        return Naming("", f"no name within {timeout_s:g} s")


def _name_by_rules(smiles: str) -> Naming:
    from openclatura import name

    result = name(smiles, verify_self=True)
    if not result.ok:
        return Naming("", str(result.error or "an empty name"))
    return Naming(result.name, str(result.self_audit.verdict) if result.self_audit is not None else "abstained")


class _AppendedTable:
    """A table that one process at a time adds rows to.

    Attributes:
        keys: What its rows are known by, see `_identify`.
    """

    def __init__(self, path: Path, header: Sequence[str]) -> None:
        """Open or begin the table.

        Raises:
            InputError: It cannot be written, another process writes to it, or its header is another.
        """
        self._lines = AppendOnlyLines(path)
        expected = "\t".join(header)
        found, *rows = self._lines.found or [expected]
        if found != expected:
            self._lines.close()
            raise InputError(f"{path}, line 1: not a table of {list(header)}, but of {found.split()}")
        if not self._lines.found:
            self._lines.append(expected)
        self.keys = {_identify(*row.split("\t")[:2]) for row in rows}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()

    def append(self, *cells: str) -> None:
        """Write a row; white space in a cell, tabs and newlines among it, becomes single spaces."""
        self._lines.append("\t".join(" ".join(cell.split()) for cell in cells))
        self.keys.add(_identify(*cells[:2]))
