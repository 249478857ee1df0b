"""SQLite file of a journal: its schema, its opening, and the checks that it is what it was.

====================  ====================================================================================
rule                  how
====================  ====================================================================================
never another file    header and application id are checked before anything is written
one name              links are resolved first, so that two names of one journal have one lock
never a removed file  after each commit, the names of journal and lock must be those of the open files
extended in place     new columns have defaults, so that earlier versions can use the journal as well
====================  ====================================================================================
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final

from attrs import frozen

from imagesdk.errors import JournalError
from imagesdk.fan_out.lock import RunnerLock, is_same_file
from imagesdk.fan_out.rows import COLUMNS
from imagesdk.remedies import Remedy

NOT_UTF8 = "Could not decode to UTF-8"
"""Start of the message of SQLite for a damaged text."""
UNUSABLE: Final = (sqlite3.Error, UnicodeError, TypeError, OverflowError)
"""What reading a damaged file raises. The message of an error of SQLite may not be UTF-8 itself."""
_APPLICATION = 0x696D6773  # "imgs": https://www.sqlite.org/pragma.html#pragma_application_id
_VERSION = 1
_HEAD = b"SQLite format 3\0"  # https://www.sqlite.org/fileformat.html#magic_header_string
_SCHEMA = """
CREATE TABLE jobs (
    key TEXT PRIMARY KEY, content TEXT NOT NULL, occurrence INTEGER NOT NULL, label TEXT,
    kind TEXT NOT NULL, params TEXT NOT NULL, images INTEGER NOT NULL, model TEXT,
    state TEXT NOT NULL, idempotency_key TEXT NOT NULL, sent_at REAL, process TEXT,
    before TEXT NOT NULL DEFAULT 'planned', reserved TEXT, risked TEXT, cost TEXT, answer TEXT, error TEXT,
    acknowledged INTEGER NOT NULL DEFAULT 0,
    UNIQUE (content, occurrence)
) WITHOUT ROWID;
CREATE UNIQUE INDEX labels ON jobs (label) WHERE label IS NOT NULL;
CREATE INDEX sent ON jobs (sent_at) WHERE sent_at IS NOT NULL;
"""
_EXTENSIONS = {
    "acknowledged": "ALTER TABLE jobs ADD COLUMN acknowledged INTEGER NOT NULL DEFAULT 0",
    "batch": "ALTER TABLE jobs ADD COLUMN batch TEXT",
    "line": "ALTER TABLE jobs ADD COLUMN line INTEGER",
}
"""Columns that earlier versions did not have."""
_STAND_INS = {"acknowledged": "0 AS acknowledged", "batch": "NULL AS batch"}
"""Values of such columns in a journal that is only read."""
_BATCHES = """
CREATE TABLE IF NOT EXISTS batches (
    intent TEXT PRIMARY KEY, id TEXT, state TEXT NOT NULL, endpoint TEXT NOT NULL, model TEXT, input_file TEXT NOT NULL,
    lines INTEGER NOT NULL, began REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS uploads (sha256 TEXT PRIMARY KEY, file TEXT NOT NULL, expires REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS lines ON jobs (batch, line) WHERE batch IS NOT NULL;
"""
_OF_THIS_RUN = """
CREATE TEMP TABLE seen (key TEXT PRIMARY KEY, place INTEGER NOT NULL UNIQUE) WITHOUT ROWID;
CREATE TEMP TABLE next (content TEXT PRIMARY KEY, occurrence INTEGER NOT NULL) WITHOUT ROWID;
"""


@frozen
class Opened:
    """Connection of a journal, and the files that must keep their names while it is used."""

    connection: sqlite3.Connection
    file: os.stat_result | None = None
    lock: RunnerLock | None = None


def take(handle: ExitStack, path: Path, writes: bool) -> Opened:
    """Open a journal. ``handle`` releases it even if the call that opened it was cancelled."""
    if not writes:
        return Opened(handle.enter_context(closing(connected(path))))
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = RunnerLock(path)
    handle.callback(lock.release)
    file = _created(path)
    return Opened(handle.enter_context(closing(connected(path, writes=True))), file, lock)


def real_path(path: Path) -> Path:
    """Return the path of the file that a link to a journal names; another path as it is. Blocks."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _created(path: Path) -> os.stat_result:
    """Create a journal if there is none, and return its identity."""
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "rb") as file:
        head = file.read(len(_HEAD))
        identity = os.fstat(file.fileno())
    if head and head != _HEAD:  # SQLite would treat a short file as an empty database
        raise _foreign(path)
    return identity


def check_name(path: Path, opened: Opened) -> None:
    """Raise if the journal that was opened, or its lock, no longer has its name."""
    if opened.file is None or opened.lock is None:
        return
    for name, has_its_name in (
        (path, is_same_file(path, opened.file)),
        (f"{path}-lock", opened.lock.is_at_its_name()),
    ):
        if not has_its_name:
            summary = f"{name} was removed or replaced while a run used it, so the run ends."
            raise JournalError(summary, remedies=(Remedy.PUT_JOURNAL_BACK,))


def connected(path: Path, *, writes: bool = False) -> sqlite3.Connection:
    """Open the file of a journal, and check that it is one.

    Raises:
        JournalError: If it is damaged, of a later version, or not a journal.
    """
    target = f"{path.absolute().as_uri()}?mode={'rw' if writes else 'ro'}"
    try:
        connection = sqlite3.connect(target, uri=True, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection, path, writes=writes)
        except BaseException:
            connection.close()
            raise
    except UNUSABLE as problem:
        raise broken(path, problem) from None
    return connection


def _prepare(db: sqlite3.Connection, path: Path, *, writes: bool) -> None:
    application = db.execute("PRAGMA application_id").fetchone()[0]
    version = db.execute("PRAGMA user_version").fetchone()[0]
    tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application != _APPLICATION and (tables or not writes):
        raise _foreign(path)
    if version > _VERSION:
        summary = f"{path} was written by a later version of imagesdk."
        raise JournalError(summary, remedies=(Remedy.USE_LATER_VERSION,))
    damage = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if damage != "ok":
        raise sqlite3.DatabaseError(damage)
    if writes:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        if not tables:
            db.executescript(
                f"BEGIN; {_SCHEMA} PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {_VERSION}; COMMIT;"
            )
    columns = {name for _, name, *_ in db.execute("PRAGMA table_info(jobs)")}
    stored = COLUMNS
    for name, extension in _EXTENSIONS.items():
        if name not in columns and writes:
            db.execute(extension)
        elif name not in columns:
            stored = stored.replace(name, _STAND_INS.get(name, name))
    if writes:
        db.executescript(f"BEGIN; {_BATCHES} COMMIT;")
    db.executescript(f"{_OF_THIS_RUN} CREATE TEMP VIEW records AS SELECT {stored} FROM main.jobs;")  # noqa: S608 - constants


def _foreign(path: Path) -> JournalError:
    return JournalError(f"{path} is not a journal of imagesdk.", remedies=(Remedy.NAME_ANOTHER_FILE,))


_REMEDIES: Final = {
    sqlite3.SQLITE_FULL: Remedy.FREE_DISK_SPACE,
    sqlite3.SQLITE_IOERR: Remedy.FREE_DISK_SPACE,
    sqlite3.SQLITE_READONLY: Remedy.MOVE_JOURNAL,
    sqlite3.SQLITE_CANTOPEN: Remedy.MOVE_JOURNAL,
    sqlite3.SQLITE_PERM: Remedy.MOVE_JOURNAL,
    sqlite3.SQLITE_BUSY: Remedy.CLOSE_OTHER_PROGRAM,
}
"""By primary error code: https://www.sqlite.org/rescode.html#primary_result_codes_versus_extended_result_codes."""


def broken(path: Path, problem: Exception) -> JournalError:
    """Return the error of a journal that cannot be read or written."""
    code = getattr(problem, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF
    remedy = _REMEDIES.get(code) or Remedy.RECOVER_JOURNAL.of(path)
    if not isinstance(problem, sqlite3.Error) or NOT_UTF8 in str(problem):
        remedy = Remedy.CHECK_JOURNAL.of(path)
    summary = f"The journal {path} cannot be used: {problem}.".encode("utf-8", "replace").decode()
    return JournalError(summary, remedies=(remedy,))
