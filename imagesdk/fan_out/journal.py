"""Journal of a run: an SQLite file with the state of every job, correct after a kill at any point.

=========================  ==================================================================================
property                   how
=========================  ==================================================================================
durable                    WAL and ``synchronous=FULL``: each write is on the disk before its caller continues
fast                       all writes that wait at once share one commit (:mod:`.group_commit`)
off the event loop         SQLite runs in worker threads
one run at a time          a lock beside the file (:mod:`.lock`)
private                    only the owner can read the file, and it holds no API key
never another file         its header and application id are checked before anything is written
=========================  ==================================================================================

The journal finds the record of a job by its label. Without a label, it finds the record by the content of the job and the
number of jobs with the same content that the run has read before.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
import uuid
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, asynccontextmanager, closing
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
from attrs import evolve

from imagesdk._runtime.threads import run_blocking
from imagesdk.errors import InvalidRequestError, JournalError
from imagesdk.fan_out.fingerprint import name_of, parameters
from imagesdk.fan_out.group_commit import GroupCommit
from imagesdk.fan_out.job_source import Item
from imagesdk.fan_out.lock import RunnerLock
from imagesdk.fan_out.serialization import error_record, response_record
from imagesdk.fan_out.store import Files, JobRecord, JobStore, State, new_idempotency_key
from imagesdk.remedies import Remedy
from imagesdk.types import ImagesResponse

FILE_NAME: Final = "journal.db"
"""Name of the journal in the folder of its images."""

_APPLICATION = 0x696D6773  # "imgs": https://www.sqlite.org/pragma.html#pragma_application_id
_VERSION = 1
_HEAD = b"SQLite format 3\0"  # https://www.sqlite.org/fileformat.html#magic_header_string
_SCHEMA = """
CREATE TABLE jobs (
    key TEXT PRIMARY KEY, content TEXT NOT NULL, occurrence INTEGER NOT NULL, label TEXT,
    kind TEXT NOT NULL, params TEXT NOT NULL, images INTEGER NOT NULL, model TEXT,
    state TEXT NOT NULL, idempotency_key TEXT NOT NULL, sent_at REAL, process TEXT,
    before TEXT NOT NULL DEFAULT 'planned', reserved TEXT, risked TEXT, cost TEXT, answer TEXT, error TEXT,
    UNIQUE (content, occurrence)
) WITHOUT ROWID;
CREATE UNIQUE INDEX labels ON jobs (label) WHERE label IS NOT NULL;
CREATE INDEX sent ON jobs (sent_at) WHERE sent_at IS NOT NULL;
"""
_OF_THIS_RUN = """
CREATE TEMP TABLE seen (key TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TEMP TABLE next (content TEXT PRIMARY KEY, occurrence INTEGER NOT NULL) WITHOUT ROWID;
"""
_PROCESS = uuid.uuid4().hex


class Journal(JobStore):
    """Open journal. Created by :func:`open_journal`; it belongs to one event loop."""

    persistent = True

    def __init__(self, path: Path, connection: sqlite3.Connection, *, writes: bool) -> None:
        self.folder = path.parent
        self._writes = writes
        self._transact = GroupCommit(connection, writes, partial(_broken, path)).run

    async def claim(self, item: Item, content: str, images: int, model: str | None) -> JobRecord:
        """Return the record of a job. Create it if there is none."""
        return await self._transact(lambda db: self._claim(db, item, content, images, model))

    async def sending(self, record: JobRecord, reserved: str | None) -> None:
        """Record that an attempt begins, and how many US dollars it may cost."""
        await self._transact(lambda db: _sending(db, record, reserved))

    async def not_sent(self, record: JobRecord) -> None:
        """Record that the latest attempt did no work: it was not sent, or was refused."""
        query = "UPDATE jobs SET state = before, sent_at = NULL, reserved = NULL WHERE key = ?"
        await self._transact(lambda db: db.execute(query, (record.key,)).rowcount)

    async def received(self, record: JobRecord, response: ImagesResponse, files: Files) -> None:
        """Record a response whose files do not all have their final names yet."""
        answer = json.dumps(response_record(response, files, self.folder))
        await self._set(record, state="received", answer=answer, error=None)

    async def done(self, record: JobRecord, response: ImagesResponse, files: Files) -> None:
        """Record a response whose files all have their final names."""
        cost = response.cost
        spent: dict[str, Any] = {} if cost is None else {"cost": str(cost), "reserved": None}
        answer = json.dumps(response_record(response, files, self.folder))
        await self._set(record, state="done", answer=answer, error=None, **spent)

    async def ended(self, record: JobRecord, state: State, error: Exception) -> None:
        """Record that a job ended without its images."""
        unreserved: dict[str, Any] = {} if state == "unknown" else {"reserved": None}
        await self._set(record, state=state, error=json.dumps(error_record(error)), answer=None, **unreserved)

    async def sent_since(self, at: float) -> list[tuple[str | None, int, float]]:
        """Return the model, images and time of each request of other processes since ``at`` (seconds since 1970)."""
        query = "SELECT model, images, sent_at FROM jobs WHERE sent_at > ? AND process <> ?"
        return await self._transact(lambda db: db.execute(query, (at, _process())).fetchall())

    async def spent(self) -> Decimal:
        """Return the US dollars that the jobs have cost, or may have cost if their outcome is unknown."""
        query = "SELECT cost, reserved, risked FROM jobs WHERE coalesce(cost, reserved, risked) IS NOT NULL"
        return await self._transact(lambda db: sum(map(_dollars, db.execute(query)), start=Decimal(0)))

    async def _set(self, record: JobRecord, **columns: object) -> None:
        names = ", ".join(f"{name} = ?" for name in columns)
        query = f"UPDATE jobs SET {names} WHERE key = ?"  # noqa: S608 - constants
        await self._transact(lambda db: db.execute(query, (*columns.values(), record.key)).rowcount)

    def _claim(
        self, db: sqlite3.Connection, item: Item, content: str, images: int, model: str | None
    ) -> JobRecord:
        record = None if item.label is None else _by_label(db, item.label, content)
        if record is None:
            record = self._next(db, item, content, images, model)
            if record.id != item.label and item.label is not None:
                if self._writes:
                    db.execute("UPDATE jobs SET label = ? WHERE key = ?", (item.label, record.key))
                record = evolve(record, id=item.label)
        db.execute("INSERT INTO temp.seen VALUES (?)", (record.key,))
        return record

    def _next(
        self, db: sqlite3.Connection, item: Item, content: str, images: int, model: str | None
    ) -> JobRecord:
        """Return the first record of this content that the run has not claimed yet. Create it if there is none."""
        row = db.execute("SELECT occurrence FROM temp.next WHERE content = ?", (content,)).fetchone()
        occurrence = 0 if row is None else row[0]
        while _seen(db, key := f"{content}-{occurrence}"):
            occurrence += 1
        db.execute("INSERT OR REPLACE INTO temp.next VALUES (?, ?)", (content, occurrence + 1))
        record = _record(db, "key", key)
        if record is not None:
            return record
        name = item.label or name_of(content, occurrence)
        record = JobRecord(key, name, new_idempotency_key(), images=images, model=model)
        if self._writes:
            params = json.dumps(parameters(item.job), ensure_ascii=False, default=str)
            job = (key, content, occurrence, item.label, type(item.job).__name__, params)
            db.execute(
                "INSERT INTO jobs (key, content, occurrence, label, kind, params, images, model, idempotency_key, state) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'planned')",
                (*job, images, model, record.idempotency_key),
            )
        return record


@asynccontextmanager
async def open_journal(path: Path, *, writes: bool = True) -> AsyncGenerator[Journal, None]:
    """Open a journal and lock it until the block ends. Create it if there is none.

    Without ``writes`` the journal is neither changed nor locked.

    Raises:
        JournalError: If the file is in use, damaged, of a later version, or not a journal.
        OSError: If the file cannot be created.
    """
    handle = ExitStack()

    def release() -> None:  # a second call does nothing
        handle.pop_all().close()

    try:
        yield Journal(path, await run_blocking(_take, handle, path, writes), writes=writes)
    finally:
        try:
            with anyio.CancelScope(shield=True):
                await run_blocking(release)
        finally:
            release()


def _take(handle: ExitStack, path: Path, writes: bool) -> sqlite3.Connection:
    """Open a journal. ``handle`` releases it even if the call that opened it was cancelled."""
    if writes:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle.callback(RunnerLock(path).release)
    return handle.enter_context(closing(_connected(path, writes=writes)))


def read_records(path: Path) -> Iterator[JobRecord]:
    """Yield all records of a journal in the order in which their jobs were sent. Blocks. A run may write meanwhile.

    Raises:
        JournalError: If the file is damaged or not a journal.
        OSError: If the file does not exist.
    """
    path.stat()
    with closing(_connected(path, writes=False)) as connection:
        try:
            for row in connection.execute(f"SELECT {_COLUMNS} FROM jobs ORDER BY sent_at IS NULL, sent_at"):  # noqa: S608 - a constant
                yield _record_of(row)
        except sqlite3.Error as problem:
            raise _broken(path, problem) from None


def _connected(path: Path, *, writes: bool) -> sqlite3.Connection:
    if writes:
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "rb") as file:
            head = file.read(len(_HEAD))
        if head and head != _HEAD:  # SQLite would treat a short file as an empty database
            raise _foreign(path)
    target = f"{path.absolute().as_uri()}?mode={'rw' if writes else 'ro'}"
    try:
        connection = sqlite3.connect(target, uri=True, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection, path, writes=writes)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as problem:
        raise _broken(path, problem) from None
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
    db.executescript(_OF_THIS_RUN)


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


def _broken(path: Path, problem: sqlite3.Error) -> JournalError:
    code = getattr(problem, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF
    remedy = _REMEDIES.get(code) or Remedy.RECOVER_JOURNAL.of(path)
    return JournalError(f"The journal {path} cannot be used: {problem}.", remedies=(remedy,))


_COLUMNS = "key, content, occurrence, label, idempotency_key, state, answer, error, cost, params, kind, images, model, sent_at"


def _record(db: sqlite3.Connection, column: str, value: str) -> JobRecord | None:
    row = db.execute(f"SELECT {_COLUMNS} FROM jobs WHERE {column} = ?", (value,)).fetchone()  # noqa: S608
    return None if row is None else _record_of(row)


def _record_of(row: tuple[Any, ...]) -> JobRecord:
    key, content, occurrence, label, idempotency_key, state, answer, error, cost, params, *call = row
    response, failure = (None if text is None else json.loads(text) for text in (answer, error))
    name = label or name_of(content, occurrence)
    return JobRecord(key, name, idempotency_key, state, response, failure, cost, json.loads(params), *call)


def _by_label(db: sqlite3.Connection, label: str, content: str) -> JobRecord | None:
    record = _record(db, "label", label)
    if record is None:
        return None
    if record.key.rpartition("-")[0] != content:
        summary = f"The id {label!r} belongs to another job in the journal."
        raise InvalidRequestError(summary, param="id", value=label, remedies=(Remedy.RENAME_JOB,))
    if _seen(db, record.key):
        summary = f"Two jobs of this run have the id {label!r}."
        raise InvalidRequestError(summary, param="id", value=label, allowed="each id once")
    return record


def _sending(db: sqlite3.Connection, record: JobRecord, reserved: str | None) -> None:
    query = "SELECT state, before, reserved, cost, risked FROM jobs WHERE key = ?"
    state, before, *dollars = db.execute(query, (record.key,)).fetchone()
    if state in {"sending", "unknown", "received", "done"}:  # an earlier attempt may be billed as well
        before = "unknown"
    else:
        dollars = dollars[2:]
    risked = str(_dollars(tuple(dollars))) if any(dollars) else None
    db.execute(
        "UPDATE jobs SET state = 'sending', before = ?, sent_at = ?, process = ?, reserved = ?, cost = NULL, risked = ? "
        "WHERE key = ?",
        (before, time.time(), _process(), reserved, risked, record.key),
    )


def _dollars(row: tuple[str | None, ...]) -> Decimal:
    return sum((Decimal(part) for part in row if part is not None), start=Decimal(0))


def _seen(db: sqlite3.Connection, key: str) -> bool:
    return db.execute("SELECT 1 FROM temp.seen WHERE key = ?", (key,)).fetchone() is not None


def _process() -> str:
    return f"{os.getpid()}-{_PROCESS}"
