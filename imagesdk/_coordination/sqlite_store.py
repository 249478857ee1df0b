"""Store in a SQLite file, for the processes of one machine. Its clock is the monotonic clock, which they share."""

from __future__ import annotations

import math
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from imagesdk._coordination.store import OnNotice, Page, Reply, StoreUnavailable
from imagesdk.errors import CoordinationError

BUSY_SECONDS = 2.0
"""How long a statement waits for another process."""
FORGOTTEN_SECONDS = 60.0
"""Time after which an owner without a sign of life is removed from the list."""
_SOON = 0.002
_APPLICATION: Final = 0x696D6763  # "imgc": https://www.sqlite.org/pragma.html#pragma_application_id
_VERSION: Final = 1
_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS documents"
    " (key TEXT PRIMARY KEY, version TEXT NOT NULL, document TEXT NOT NULL, keep_until REAL NOT NULL)",
    "CREATE TABLE IF NOT EXISTS owners"
    " (key TEXT NOT NULL, owner TEXT NOT NULL, seen REAL NOT NULL, PRIMARY KEY (key, owner)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS notices"
    " (owner TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (owner, key)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS kept ON documents (keep_until)",
)
_READ: Final = (
    "SELECT version, CASE WHEN version = ?2 THEN '' ELSE document END FROM documents WHERE key = ?1"
)
_UPDATE: Final = (
    "UPDATE documents SET version = ?3, document = ?4, keep_until = ?5 WHERE key = ?1 AND version = ?2"
)
_INSERT: Final = (
    "INSERT OR IGNORE INTO documents (key, version, document, keep_until) VALUES (?1, ?3, ?4, ?5)"
)
_SCAN: Final = "SELECT key, version, document FROM documents WHERE key > ?1 AND substr(key, 1, ?2) = ?3 ORDER BY key LIMIT ?4"
_DELETE: Final = "DELETE FROM documents WHERE key = ? AND version = ?"
_PAGE: Final = 500
"""Documents in one page of a scan."""
_PERMANENT: Final = ("readonly", "not a database", "malformed", "unable to open", "disk i/o", "full")
_LEFT_TO_PARENT: Final[list[sqlite3.Connection]] = []
"""Connections of the parent process in a child: closing them would release locks of the parent's file."""


class SqliteStore:
    """Documents in a SQLite file."""

    poll_seconds: float | None = 0.02

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._process = os.getpid()
        self._file: tuple[int, int] | None = None

    def read(self, key: str, *, known: str = "", owner: str = "") -> Reply:
        """Return the document, unless it is of the ``known`` version."""
        with self._opened() as connection:
            if not owner:
                return self._read(connection, key, known)
            with _transaction(connection):
                self._see(connection, key, owner)
                return self._read(connection, key, known)

    def swap(
        self,
        key: str,
        expected: str,
        version: str,
        document: str,
        *,
        notify: Collection[str],
        keep: float,
        owner: str = "",
    ) -> Reply:
        """Replace the document if its version is ``expected``."""
        with self._opened() as connection, _synced(connection, math.isinf(keep)), _transaction(connection):
            if owner:
                self._see(connection, key, owner)
            statement, keep_until = _UPDATE if expected else _INSERT, self._clock() + keep
            row = (key, expected, version, document, keep_until)
            if not connection.execute(statement, row).rowcount:
                return self._read(connection, key, "")
            rows = [(each, key) for each in notify]
            connection.executemany("INSERT OR IGNORE INTO notices (owner, key) VALUES (?, ?)", rows)
            found = self._read(connection, key, version)
            return Reply(True, version, "", found.now, found.seen)

    def scan(self, prefix: str, after: str = "") -> Page:
        """Return some of the documents whose keys begin with ``prefix``, by key."""
        with self._opened() as connection:
            given = (max(prefix, after), len(prefix), prefix, _PAGE)
            rows = connection.execute(_SCAN, given).fetchall()
            now = self._clock()
        documents = [(key, Reply(False, version, document, now)) for key, version, document in rows]
        return Page(documents, rows[-1][0] if len(rows) == _PAGE else "")

    def delete(self, key: str, version: str) -> bool:
        """Delete the document if it has this version. Return whether it had."""
        with self._opened() as connection:
            return connection.execute(_DELETE, (key, version)).rowcount > 0

    def listen(self, owner: str, on_notice: OnNotice) -> None:
        """Do nothing: owners that wait ask every :attr:`poll_seconds`."""

    def attend(self, key: str) -> None:
        """Do nothing: a file loses nothing."""

    def notices(self, owner: str) -> Collection[str]:
        """Return the keys of the documents about which this owner was notified, once."""
        with self._opened() as connection:
            if not connection.execute("SELECT 1 FROM notices WHERE owner = ? LIMIT 1", (owner,)).fetchone():
                return ()
            rows = connection.execute(
                "DELETE FROM notices WHERE owner = ? RETURNING key", (owner,)
            ).fetchall()
            return [key for (key,) in rows]

    def uptime(self) -> float:
        """Return infinity: a file loses nothing."""
        return math.inf

    def close(self) -> None:
        """Close the connection, or leave it to the process that opened it."""
        if self._connection is not None:
            if self._process == os.getpid():
                self._connection.close()
            else:
                _LEFT_TO_PARENT.append(self._connection)
        self._connection = None

    def _read(self, connection: sqlite3.Connection, key: str, known: str) -> Reply:
        version, document = connection.execute(_READ, (key, known)).fetchone() or ("", "")
        rows = connection.execute("SELECT owner, seen FROM owners WHERE key = ?", (key,)).fetchall()
        return Reply(False, version, document, self._clock(), dict(rows))

    def _see(self, connection: sqlite3.Connection, key: str, owner: str) -> None:
        now = self._clock()
        connection.execute("INSERT OR REPLACE INTO owners VALUES (?, ?, ?)", (key, owner, now))
        past = (key, now - FORGOTTEN_SECONDS, now + FORGOTTEN_SECONDS)
        connection.execute("DELETE FROM owners WHERE key = ? AND seen NOT BETWEEN ? AND ?", past)

    @contextmanager
    def _opened(self) -> Generator[sqlite3.Connection]:
        """Give a connection, and translate errors."""
        try:
            if self._connection is not None and (
                self._process != os.getpid() or self._identity() != self._file
            ):
                self.close()
            if self._connection is None:
                self._connection, self._process = self._open(), os.getpid()
                self._file = self._identity()
            yield self._connection
        except sqlite3.Error as error:
            self.close()
            text = str(error)
            if any(words in text.lower() for words in _PERMANENT):
                raise CoordinationError(
                    f"The shared store {str(self._path)!r} cannot be used: {text}."
                ) from error
            raise StoreUnavailable(text) from error

    def _identity(self) -> tuple[int, int] | None:
        """Return what tells the file from another one at its path; ``None`` if it was removed."""
        try:
            found = os.stat(self._path)  # noqa: PTH116 - twice as fast as that of a path
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            self._check(connection)
            connection.execute("PRAGMA synchronous = OFF")  # a new file has nothing to lose
            _use_wal(connection)
            with _transaction(connection):
                if self._check(connection):
                    connection.execute(f"PRAGMA application_id = {_APPLICATION}")
                    connection.execute(f"PRAGMA user_version = {_VERSION}")
                for statement in _SCHEMA:
                    connection.execute(statement)
                connection.execute("DELETE FROM documents WHERE keep_until < ?", (self._clock(),))
            connection.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            connection.close()
            raise
        return connection

    def _check(self, connection: sqlite3.Connection) -> bool:
        """Return whether the file is new. Raise an error if it is not a store of this version."""
        has_tables = connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None
        application = _pragma(
            connection, "application_id"
        )  # after that: another process may just make the file
        if not has_tables and application in {0, _APPLICATION}:
            return True
        if application != _APPLICATION:
            raise CoordinationError(f"{str(self._path)!r} is a SQLite file, but not a shared store.")
        if (version := _pragma(connection, "user_version")) != _VERSION:
            raise CoordinationError(
                f"The shared store {str(self._path)!r} is of version {version}, and this package uses version {_VERSION}."
            )
        return False


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Generator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.execute("COMMIT")


@contextmanager
def _synced(connection: sqlite3.Connection, durable: bool) -> Generator[None]:
    """Have the transactions of the block on the disk when they end, if they are to be ``durable``."""
    if durable:
        connection.execute("PRAGMA synchronous = FULL")
    try:
        yield
    finally:
        if durable:
            connection.execute("PRAGMA synchronous = NORMAL")


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch the file to a write-ahead log, for which SQLite does not wait while others use the file."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_SOON)
        else:
            return


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
