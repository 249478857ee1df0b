"""Store in a SQLite file, for the processes of one machine. Its clock is the monotonic clock, which they share."""

from __future__ import annotations

import math
import os
import sqlite3
import time
from collections.abc import Callable, Collection
from pathlib import Path

from imagesdk._coordination.store import Page, Reply, StoreUnavailable
from imagesdk.errors import CoordinationError

BUSY_SECONDS = 5.0
"""How long a statement waits for another process."""
_SCHEMA = "CREATE TABLE IF NOT EXISTS documents (key TEXT PRIMARY KEY, version TEXT NOT NULL, document TEXT NOT NULL)"
_UPDATE = "UPDATE documents SET version = ?3, document = ?4 WHERE key = ?1 AND version = ?2"
_INSERT = "INSERT OR IGNORE INTO documents (key, version, document) VALUES (?1, ?3, ?4)"
_DELETE = "DELETE FROM documents WHERE key = ? AND version = ?"
_SCAN = "SELECT key, version, document FROM documents WHERE key > ?1 AND substr(key, 1, ?2) = ?3 ORDER BY key LIMIT ?4"
_PAGE = 500
"""Documents in one page of a scan."""
_PERMANENT = ("readonly", "not a database", "malformed", "unable to open", "disk i/o", "full")


def connect(path: Path, *, durable: bool = False) -> sqlite3.Connection:
    """Open a file that several processes use. With ``durable``, a change is on the disk before its caller continues.

    Raises:
        CoordinationError: If the file cannot be used.
    """
    try:
        connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    except sqlite3.Error as error:
        raise failure(path, error) from error
    return connection


def failure(path: Path, error: sqlite3.Error) -> Exception:
    """Return the error to raise for one of SQLite."""
    text = str(error)
    if any(words in text.lower() for words in _PERMANENT):
        return CoordinationError(f"The shared store {str(path)!r} cannot be used: {text}.")
    return StoreUnavailable(f"{path}: {text}")


class SqliteStore:
    """Documents in a SQLite file."""

    poll_seconds: float | None = 0.02

    def __init__(
        self, path: Path, *, durable: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._durable = durable
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._process = os.getpid()

    def read(self, key: str) -> Reply:
        """Return the document."""
        try:
            connection = self._opened()
            now = self._clock()
            row = connection.execute(
                "SELECT version, document FROM documents WHERE key = ?", (key,)
            ).fetchone()
        except sqlite3.Error as error:
            raise self._failed(error) from error
        version, document = row or ("", "")
        return Reply(False, version, document, now)

    def swap(
        self, key: str, expected: str, version: str, document: str, *, notify: Collection[str], keep: float
    ) -> Reply:
        """Replace the document if its version is ``expected``."""
        try:
            connection = self._opened()
            now = self._clock()
            statement = _UPDATE if expected else _INSERT
            changed = connection.execute(statement, (key, expected, version, document)).rowcount
        except sqlite3.Error as error:
            raise self._failed(error) from error
        return Reply(True, version, "", now) if changed else self.read(key)

    def scan(self, prefix: str, after: str) -> Page:
        """Return some of the documents whose keys begin with ``prefix``, by key."""
        try:
            connection = self._opened()
            now = self._clock()
            given = (max(prefix, after), len(prefix), prefix, _PAGE)
            rows = connection.execute(_SCAN, given).fetchall()
        except sqlite3.Error as error:
            raise self._failed(error) from error
        documents = [(key, Reply(False, version, document, now)) for key, version, document in rows]
        return Page(documents, rows[-1][0] if len(rows) == _PAGE else "")

    def delete(self, key: str, version: str) -> bool:
        """Delete the document if it has this version. Return whether it had."""
        try:
            return self._opened().execute(_DELETE, (key, version)).rowcount > 0
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def listen(self, owner: str, on_notice: Callable[[], None]) -> None:
        """Do nothing: owners that wait look every :attr:`poll_seconds`."""

    def uptime(self) -> float:
        """Return infinity: a file loses nothing."""
        return math.inf

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None and self._process == os.getpid():
            self._connection.close()
        self._connection = None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = connect(self._path, durable=self._durable)
            connection.execute(_SCHEMA)
            self._connection, self._process = connection, os.getpid()
        return self._connection

    def _failed(self, error: sqlite3.Error) -> Exception:
        self.close()
        return failure(self._path, error)
