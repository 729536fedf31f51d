"""Systematic names of molecules while questions are answered: known ones are stored, others are made once and kept.

A few molecules keep the rules of openclatura busy for ever, so these run in a process of their own, which is ended
when a name takes too long; the molecule then has none. A name takes some hundredths of a second, and the process
starts while the model is loaded.
"""

from __future__ import annotations

import contextlib
import select
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import IO, cast

from molregpt.data.shipped import shipped_names
from molregpt.database import cache_folder

TIMEOUT_S = 5.0
"""When a molecule is given up."""

_START_S = 60.0
"""More time for the first name, since the process is still importing its rules."""


class NameStore:
    """Names that were made, kept from one command to the next; where it cannot be read or written, there are none."""

    def __init__(self, path: Path) -> None:
        """Open or create the file."""
        self._database: sqlite3.Connection | None = None
        with contextlib.suppress(OSError, sqlite3.Error):
            path.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(path, timeout=1.0, check_same_thread=False, isolation_level=None)
            database.execute("CREATE TABLE IF NOT EXISTS names (smiles TEXT PRIMARY KEY, name TEXT NOT NULL)")
            self._database = database

    def find(self, smiles: str) -> str | None:
        """The name of a molecule, None where none was made yet."""
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                found = self._database.execute("SELECT name FROM names WHERE smiles = ?", (smiles,)).fetchone()
                return None if found is None else str(found[0])
        return None

    def keep(self, smiles: str, name: str) -> None:
        """Keep a name, also that the rules have none."""
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                self._database.execute("INSERT OR IGNORE INTO names VALUES (?, ?)", (smiles, name))


class Namer:
    """Names molecules; to be called from any thread."""

    def __init__(
        self, known: Mapping[str, str], store: NameStore | None = None, *, timeout_s: float = TIMEOUT_S
    ) -> None:
        """Begin with names that are known, by SMILES; the process starts now, to be ready at the first question."""
        self._names, self._store = dict(known), store
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._warm = False
        self._start()

    def __call__(self, smiles: str) -> str:
        """The name of a molecule, empty where the rules have none or take too long."""
        with self._lock:
            if smiles not in self._names:
                self._names[smiles] = self._find(smiles)
            return self._names[smiles]

    def close(self) -> None:
        """End the process; the next new molecule starts another."""
        with self._lock:
            self._stop()

    def _find(self, smiles: str) -> str:
        if len(smiles.split()) != 1:
            return ""
        known = self._store.find(smiles) if self._store else None
        if known is not None:
            return known
        name = self._ask(smiles)
        # What took too long may not, another time, on a machine that has less to do.
        if name is not None and self._store:
            self._store.keep(smiles, name)
        return name or ""

    def _ask(self, smiles: str) -> str | None:
        """The name, empty where the rules have none; None where it takes too long."""
        process = self._process or self._start()
        sink, source = cast(IO[str], process.stdin), cast(IO[str], process.stdout)
        # A process that has died, such as one without memory, costs this molecule its name, nothing else.
        with contextlib.suppress(OSError):
            sink.write(f"{smiles}\n")
            sink.flush()
            if select.select([source], [], [], self._timeout_s if self._warm else _START_S)[0]:
                line = source.readline()
                if line.endswith("\n"):
                    self._warm = True
                    return line.strip()
        self._stop()
        return None

    def _start(self) -> subprocess.Popen[str]:
        self._warm = False
        self._process = subprocess.Popen(  # noqa: S603 (this very interpreter, with no text of others)
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        return self._process

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@cache
def shared_namer() -> Namer:
    """The one that everything in this process uses; it knows the shipped pool's names, and those in the cache."""
    made_by = "_".join(f"{package}-{version(package)}" for package in ("openclatura", "rdkit"))
    return Namer(shipped_names(), NameStore(cache_folder() / f"names_{made_by}.sqlite"))


def serve(questions: IO[str], answers: IO[str]) -> None:
    """Answer each line, a SMILES, by a line, its name."""
    from openclatura import name

    for line in questions:
        result = name(line.strip(), verify_self=False)
        answers.write((result.name or "" if result.ok else "") + "\n")
        answers.flush()


if __name__ == "__main__":
    # What a library prints must not be taken for a name.
    own, sys.stdout = sys.stdout, sys.stderr
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        serve(sys.stdin, own)
