"""The journal of a run: an SQLite file that knows, after a kill at any point, how far every job had come.

Rules: what is told is on the disk before the caller goes on (WAL, ``synchronous=FULL``); what several tasks tell at once
goes into one commit; nothing of it happens on the event loop. No key is in it, and only its owner can read it.

An entry is found by its content and by how many of the same content came before it in this run, or by its name.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Generic, TypeVar, cast

import anyio
from attrs import define, evolve, frozen

from imagesdk._runtime.threads import run_blocking
from imagesdk.errors import InvalidRequestError, JournalError
from imagesdk.fan_out.fingerprint import name_of, parameters
from imagesdk.fan_out.job_source import Item
from imagesdk.fan_out.lock import RunnerLock
from imagesdk.fan_out.store import JobRecord, State, new_idempotency_key
from imagesdk.remedies import Remedy

FILE_NAME: Final = "journal.db"
"""What a journal is called in the folder of its pictures."""

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

T = TypeVar("T")


@define(eq=False)
class _Write(Generic[T]):
    """Something to be written, or read, and what came of it."""

    work: Callable[[sqlite3.Connection], T]
    over: bool = False
    value: T | None = None
    error: Exception | None = None


@frozen
class SentImages:
    """Images that were asked for at a time (seconds since 1970)."""

    model: str | None
    images: int
    at: float


class Journal:
    """An open journal. Made by :func:`open_journal`; used on one event loop."""

    def __init__(self, path: Path, connection: sqlite3.Connection, *, writes: bool) -> None:
        self._path = path
        self._connection = connection
        self._writes = writes
        self._turn = anyio.Lock()
        self._waiting: list[_Write[Any]] = []

    @property
    def persistent(self) -> bool:
        """Whether it is there after the process."""
        return True

    async def claim(self, item: Item, content: str, images: int, model: str | None) -> JobRecord:
        """Return the entry of a job, made if there is none.

        Raises:
            InvalidRequestError: its name belongs to another job.
            JournalError: it cannot be kept.
        """
        return await self._commit_write(lambda db: self._claim(db, item, content, images, model))

    async def sending(self, entry: JobRecord, reserved: str | None) -> None:
        """Write down that a job is about to be sent, and may cost so much."""
        await self._commit_write(lambda db: _sending(db, entry, reserved))

    async def not_sent(self, entry: JobRecord) -> None:
        """Write down that nothing can have come of an attempt."""
        query = "UPDATE jobs SET state = before, sent_at = NULL, reserved = NULL WHERE key = ?"
        await self._commit_write(lambda db: db.execute(query, (entry.key,)).rowcount)

    async def received(self, entry: JobRecord, answer: Mapping[str, Any]) -> None:
        """Write down an answer whose files are not all in place."""
        await self._set(entry, state="received", answer=json.dumps(answer), error=None)

    async def done(self, entry: JobRecord, answer: Mapping[str, Any], cost: str | None) -> None:
        """Write down an answer whose files are in place."""
        spent: dict[str, Any] = {} if cost is None else {"cost": cost, "reserved": None}
        await self._set(entry, state="done", answer=json.dumps(answer), error=None, **spent)

    async def ended(self, entry: JobRecord, state: State, error: Mapping[str, Any]) -> None:
        """Write down that a job has ended without its pictures."""
        free: dict[str, Any] = {} if state == "unknown" else {"reserved": None}
        await self._set(entry, state=state, error=json.dumps(error), answer=None, **free)

    async def sent_since(self, at: float) -> list[SentImages]:
        """Return what other processes have sent since then."""
        query = "SELECT model, images, sent_at FROM jobs WHERE sent_at > ? AND process <> ?"
        return await self._commit_write(
            lambda db: [SentImages(*row) for row in db.execute(query, (at, _process()))]
        )

    async def spent(self) -> Decimal:
        """Return the US dollars that its jobs have cost, and those of unknown outcome may have."""
        query = "SELECT cost, reserved, risked FROM jobs WHERE coalesce(cost, reserved, risked) IS NOT NULL"
        return await self._commit_write(lambda db: sum(map(_dollars, db.execute(query)), start=Decimal(0)))

    async def _set(self, entry: JobRecord, **columns: object) -> None:
        names = ", ".join(f"{name} = ?" for name in columns)
        query = f"UPDATE jobs SET {names} WHERE key = ?"  # noqa: S608 - names of ours
        await self._commit_write(lambda db: db.execute(query, (*columns.values(), entry.key)).rowcount)

    async def _commit_write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Have ``work`` done in one transaction with all that is told meanwhile, and wait until it is on the disk."""
        told = _Write(work)
        self._waiting.append(told)
        try:
            async with self._turn:
                if not told.over:
                    batch, self._waiting = self._waiting, []
                    try:
                        with anyio.CancelScope(shield=True):
                            await run_blocking(self._commit, batch)
                    finally:
                        self._waiting[:0] = [other for other in batch if not other.over]
        finally:
            if told in self._waiting:
                self._waiting.remove(told)
        if told.error is not None:
            raise told.error
        return cast("T", told.value)

    def _commit(self, batch: list[_Write[Any]]) -> None:
        db = self._connection
        try:
            db.execute("BEGIN IMMEDIATE" if self._writes else "BEGIN")
            for told in batch:
                try:
                    told.value = told.work(db)
                except InvalidRequestError as error:  # which is found out before anything is written
                    told.error = error
            db.execute("COMMIT")
        except sqlite3.Error as problem:
            if db.in_transaction:
                db.rollback()
            for told in batch:
                told.error = _broken(self._path, problem)
        for told in batch:
            told.over = True

    def _claim(
        self, db: sqlite3.Connection, item: Item, content: str, images: int, model: str | None
    ) -> JobRecord:
        found = None if item.label is None else _by_label(db, item.label, content)
        if found is None:
            found = self._next(db, item, content, images, model)
            if found.id != item.label and item.label is not None:
                if self._writes:
                    db.execute("UPDATE jobs SET label = ? WHERE key = ?", (item.label, found.key))
                found = evolve(found, id=item.label)
        db.execute("INSERT INTO temp.seen VALUES (?)", (found.key,))
        return found

    def _next(
        self, db: sqlite3.Connection, item: Item, content: str, images: int, model: str | None
    ) -> JobRecord:
        """Return the first entry of this content that has not come up in this run."""
        row = db.execute("SELECT occurrence FROM temp.next WHERE content = ?", (content,)).fetchone()
        occurrence = 0 if row is None else row[0]
        while _seen(db, _key(content, occurrence)):
            occurrence += 1
        db.execute("INSERT OR REPLACE INTO temp.next VALUES (?, ?)", (content, occurrence + 1))
        key = _key(content, occurrence)
        found = _entry(db, "key", key)
        if found is not None:
            return found
        name = item.label or name_of(content, occurrence)
        entry = JobRecord(key, name, new_idempotency_key(), images=images, model=model)
        if self._writes:
            params = json.dumps(parameters(item.job), ensure_ascii=False, default=str)
            columns = (
                key,
                content,
                occurrence,
                item.label,
                type(item.job).__name__,
                params,
                images,
                model,
                "planned",
                entry.idempotency_key,
            )
            db.execute(
                "INSERT INTO jobs (key, content, occurrence, label, kind, params, images, model, state, "
                "idempotency_key) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                columns,
            )
        return entry


@asynccontextmanager
async def open_journal(path: Path, *, writes: bool = True) -> AsyncGenerator[Journal, None]:
    """Open a journal, made if there is none, and hold it alone while the block runs.

    Without ``writes`` nothing is changed, and others may use it meanwhile.

    Raises:
        JournalError: it is in use, no journal, damaged, or of a later version.
        OSError: it cannot be made.
    """
    hold = _Hold(path, writes)
    try:
        yield Journal(path, await run_blocking(hold.take), writes=writes)
    finally:
        try:
            with anyio.CancelScope(shield=True):
                await run_blocking(hold.release)
        finally:
            hold.release()


def entries(path: Path) -> Iterator[JobRecord]:
    """Yield all entries of a journal, in the order in which they were sent, while others may write to it. Blocks.

    Raises:
        JournalError: it is no journal, or damaged.
        OSError: it is not there.
    """
    path.stat()
    connection = _connected(path, False)
    try:
        for row in connection.execute(f"SELECT {_COLUMNS} FROM jobs ORDER BY sent_at IS NULL, sent_at"):  # noqa: S608 - a constant
            yield _entry_of(row)
    except sqlite3.Error as problem:
        raise _broken(path, problem) from None
    finally:
        connection.close()


class _Hold:
    """What is open of a journal: known here even where the call that opened it was given up meanwhile."""

    def __init__(self, path: Path, writes: bool) -> None:
        self._path = path
        self._writes = writes
        self._lock: RunnerLock | None = None
        self._connection: sqlite3.Connection | None = None

    def take(self) -> sqlite3.Connection:
        """Lock the journal, if it is to be written, and open it."""
        if self._writes:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = RunnerLock(self._path)
        self._connection = _connected(self._path, self._writes)
        return self._connection

    def release(self) -> None:
        """Close what is open. May be called again."""
        connection, self._connection = self._connection, None
        lock, self._lock = self._lock, None
        try:
            if connection is not None:
                connection.close()
        finally:
            if lock is not None:
                lock.release()


def _connected(path: Path, writes: bool) -> sqlite3.Connection:
    if writes:
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "rb") as file:
            head = file.read(len(_HEAD))
        if head and head != _HEAD:  # SQLite itself takes a short file for an empty one
            raise _foreign(path)
    target = f"{path.absolute().as_uri()}?mode={'rw' if writes else 'ro'}"
    try:
        connection = sqlite3.connect(target, uri=True, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as problem:
        raise _broken(path, problem) from None
    try:
        _prepare(connection, path, writes=writes)
    except sqlite3.Error as problem:
        connection.close()
        raise _broken(path, problem) from None
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(db: sqlite3.Connection, path: Path, *, writes: bool) -> None:
    application = db.execute("PRAGMA application_id").fetchone()[0]
    version = db.execute("PRAGMA user_version").fetchone()[0]
    tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application != _APPLICATION and (tables or not writes):
        raise _foreign(path)
    if version > _VERSION:
        raise JournalError(
            f"{path} was written by a later version of imagesdk.", remedies=(Remedy.USE_LATER_VERSION,)
        )
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


def _broken(path: Path, problem: sqlite3.Error) -> JournalError:
    code = getattr(problem, "sqlite_errorcode", None)
    if code is not None and code & 0xFF in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}:
        remedy = Remedy.FREE_DISK_SPACE
    elif code is not None and code & 0xFF in {
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
    }:
        remedy = Remedy.MOVE_JOURNAL
    elif code is not None and code & 0xFF == sqlite3.SQLITE_BUSY:
        remedy = Remedy.CLOSE_OTHER_PROGRAM
    else:
        remedy = Remedy.RECOVER_JOURNAL.of(path)
    return JournalError(f"The journal {path} cannot be used: {problem}.", remedies=(remedy,))


_COLUMNS = "key, content, occurrence, label, kind, params, images, model, state, idempotency_key, sent_at, cost, answer, error"


def _entry(db: sqlite3.Connection, column: str, value: str) -> JobRecord | None:
    row = db.execute(f"SELECT {_COLUMNS} FROM jobs WHERE {column} = ?", (value,)).fetchone()  # noqa: S608
    return None if row is None else _entry_of(row)


def _entry_of(row: tuple[Any, ...]) -> JobRecord:
    key, content, occurrence, label, kind, params, images, model, state, idempotency_key, *rest = row
    sent_at, cost, answer, error = rest
    return JobRecord(
        key,
        label or name_of(content, occurrence),
        idempotency_key,
        state,
        answer=None if answer is None else json.loads(answer),
        error=None if error is None else json.loads(error),
        cost=cost,
        params=json.loads(params),
        kind=kind,
        images=images,
        model=model,
        sent_at=sent_at,
    )


def _by_label(db: sqlite3.Connection, label: str, content: str) -> JobRecord | None:
    found = _entry(db, "label", label)
    if found is None:
        return None
    if found.key.rpartition("-")[0] != content:
        raise InvalidRequestError(
            f"The id {label!r} belongs to another job in the journal.",
            param="id",
            value=label,
            remedies=(Remedy.RENAME_JOB,),
        )
    if _seen(db, found.key):
        raise InvalidRequestError(
            f"Two jobs of this run have the id {label!r}.", param="id", value=label, allowed="each id once"
        )
    return found


def _sending(db: sqlite3.Connection, entry: JobRecord, reserved: str | None) -> None:
    query = "SELECT state, before, reserved, cost, risked FROM jobs WHERE key = ?"
    state, before, *dollars = db.execute(query, (entry.key,)).fetchone()
    if state in {"sending", "unknown", "received", "done"}:  # what was sent before may be billed besides
        before = "unknown"
    else:
        dollars = dollars[2:]
    risked = str(_dollars(tuple(dollars))) if any(dollars) else None
    db.execute(
        "UPDATE jobs SET state = 'sending', before = ?, sent_at = ?, process = ?, reserved = ?, cost = NULL, risked = ? "
        "WHERE key = ?",
        (before, time.time(), _process(), reserved, risked, entry.key),
    )


def _dollars(row: tuple[str | None, ...]) -> Decimal:
    return sum((Decimal(part) for part in row if part is not None), start=Decimal(0))


def _seen(db: sqlite3.Connection, key: str) -> bool:
    return db.execute("SELECT 1 FROM temp.seen WHERE key = ?", (key,)).fetchone() is not None


def _key(content: str, occurrence: int) -> str:
    return f"{content}-{occurrence}"


def _process() -> str:
    return f"{os.getpid()}-{_PROCESS}"
