"""Replies of servers on disk, so that a run that was stopped goes on without paying twice.

Format: one SQLite file, `PRAGMA application_id` 0x4d524743 ("MRGC") and `PRAGMA user_version` 1, with one table:

    replies(
        id        INTEGER PRIMARY KEY,   order of arrival
        key       TEXT,                  sha256 (hex) of the endpoint, a line feed and the request
        endpoint  TEXT,                  URL of the server's chat completions route
        model     TEXT,                  the model that was asked
        request   TEXT,                  the whole request body as it was sent, canonical JSON
        response  TEXT,                  the body that came back with status 200, raw, stored before it is parsed
        created   TEXT                   UTC, ISO 8601
    )

Canonical JSON has sorted keys, no blanks and no escapes beyond what JSON demands. As the key covers the endpoint, the
model and the whole request, no model is ever given another's answer. Neither headers nor API keys are stored.

The table only grows. Of several replies to one request the first that can be read counts: two processes that ask the
same thing at the same time end up with the same answer, and a reply that could not be read is kept for inspection
while the request is sent again. Each insertion is one transaction (rollback journal, synchronous FULL), so a killed
process leaves either the whole reply or nothing; SQLite's file locks let several processes share the file.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from molregpt.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

_APPLICATION_ID = 0x4D524743
_VERSION = 1
_LOCK_WAIT_S = 60.0
_CREATE = """
CREATE TABLE IF NOT EXISTS replies(
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, endpoint TEXT NOT NULL, model TEXT NOT NULL,
    request TEXT NOT NULL, response TEXT NOT NULL, created TEXT NOT NULL
)
"""


def encode_canonical(value: object) -> str:
    """Write `value` as JSON in the one way that equal values share."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def request_key(endpoint: str, request: str) -> str:
    """The cache key of `request` (a canonical JSON body) at `endpoint`: 64 hexadecimal digits."""
    return hashlib.sha256(f"{endpoint}\n{request}".encode()).hexdigest()


class ReplyCache:
    """Raw replies by request key; see the module's text for the format.

    Args:
        path: The cache file; it and its folder are made when missing.

    Raises:
        InputError: `path` holds something else, or a format of another version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Autocommit, so that each insertion is a transaction of its own.
            self._database = sqlite3.connect(path, timeout=_LOCK_WAIT_S, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise InputError(f"{path}: cannot open the reply cache: {error}") from None
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._database.close()
            raise InputError(f"{path}: not a reply cache: {error}") from None
        except InputError:
            self._database.close()
            raise

    def _prepare(self) -> None:
        self._database.execute("PRAGMA synchronous = FULL")
        # The lock is taken before looking, so that two processes that start together do not both create the table.
        self._database.execute("BEGIN IMMEDIATE")
        application = self._database.execute("PRAGMA application_id").fetchone()[0]
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        tables = self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and application != _APPLICATION_ID:
            raise InputError(f"{self.path}: an SQLite file, but not a reply cache")
        if tables and version != _VERSION:
            raise InputError(f"{self.path}: a reply cache of version {version}, this program reads version {_VERSION}")
        self._database.execute(_CREATE)
        self._database.execute("CREATE INDEX IF NOT EXISTS replies_key ON replies(key)")
        self._database.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        self._database.execute(f"PRAGMA user_version = {_VERSION}")
        self._database.execute("COMMIT")

    def read(self, key: str) -> list[str]:
        """All raw replies stored under `key`, the oldest first.

        Raises:
            InputError: The file is damaged.
        """
        rows = self._execute("SELECT response FROM replies WHERE key = ? ORDER BY id", (key,))
        return [str(row[0]) for row in rows]

    def append(self, endpoint: str, model: str, request: str, response: str) -> None:
        """Store one raw reply; it is on disk when this returns.

        Raises:
            InputError: The file is damaged or cannot be written.
        """
        created = datetime.now(UTC).isoformat(timespec="seconds")
        self._execute(
            "INSERT INTO replies(key, endpoint, model, request, response, created) VALUES (?, ?, ?, ?, ?, ?)",
            (request_key(endpoint, request), endpoint, model, request, response, created),
        )

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _execute(self, statement: str, values: tuple[str, ...]) -> list[tuple[object, ...]]:
        try:
            return self._database.execute(statement, values).fetchall()
        # OverflowError: a length that SQLite reads from a damaged page.
        except (sqlite3.Error, UnicodeDecodeError, OverflowError) as error:
            raise InputError(f"{self.path}: the reply cache cannot be used: {error}") from None
