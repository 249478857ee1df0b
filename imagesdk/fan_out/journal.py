"""Journal of a run: an SQLite file with the state of every job, correct after a kill at any point.

=========================  ==================================================================================
property                   how
=========================  ==================================================================================
durable                    WAL and ``synchronous=FULL``: each write is on the disk before its caller continues
fast                       all writes that wait at once share one commit (:mod:`.group_commit`)
off the event loop         SQLite runs in worker threads
one run at a time          a lock beside the file (:mod:`.lock`)
private                    only the owner can read the file, and it holds no API key
the right file             its content and its name are checked (:mod:`.database`)
no damaged row is used     each row that is read is checked (:mod:`.rows`)
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
from collections.abc import AsyncGenerator, Collection, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
from attrs import evolve

from imagesdk._media.output import OutputTemplate
from imagesdk._runtime.threads import run_blocking
from imagesdk.errors import InvalidRequestError, JournalError
from imagesdk.fan_out.database import (
    NOT_UTF8,
    UNUSABLE,
    Opened,
    broken,
    check_name,
    connected,
    real_path,
    take,
)
from imagesdk.fan_out.fingerprint import name_of, parameters
from imagesdk.fan_out.group_commit import GroupCommit
from imagesdk.fan_out.job_source import Item
from imagesdk.fan_out.recovery import owner_of, put_in_place, set_aside, unfinished
from imagesdk.fan_out.rows import COLUMNS, damaged, dollars, record_of
from imagesdk.fan_out.serialization import error_record, response_record
from imagesdk.fan_out.store import Files, JobRecord, JobStore, State, new_idempotency_key
from imagesdk.remedies import Remedy
from imagesdk.types import ImagesResponse

FILE_NAME: Final = "journal.db"
"""Name of the journal in the folder of its images."""

_PROCESS = uuid.uuid4().hex


class Journal(JobStore):
    """Open journal. Created by :func:`open_journal`; it belongs to one event loop."""

    persistent = True

    def __init__(self, path: Path, opened: Opened, *, writes: bool) -> None:
        self.folder: Path = path.parent
        self.path: Path = path
        self._writes = writes
        self._began: dict[str, float] = {}
        """Start of the latest attempt of each job in flight, in seconds since 1970."""
        verify = partial(check_name, path, opened)
        self.commits: GroupCommit = GroupCommit(opened.connection, writes, partial(broken, path), verify)
        """Transactions on the database."""

    async def claim(self, item: Item, content: str, images: int, model: str | None) -> JobRecord:
        """Return the record of a job. Create it if there is none."""
        return await self.commits.run(lambda db: self._claim(db, item, content, images, model))

    async def sending(self, record: JobRecord, reserved: str | None) -> None:
        """Record that an attempt begins, and how many US dollars it may cost."""
        began = self._began[record.key] = time.time()
        await self.commits.run(lambda db: write_sending(db, self.path, record.key, reserved, began))

    async def not_sent(self, record: JobRecord) -> None:
        """Record that the latest attempt did no work: it was not sent, or was refused."""
        query = (
            "UPDATE jobs SET state = before, sent_at = NULL, reserved = NULL WHERE key = ? AND sent_at = ?"
        )
        # The write of a cancelled attempt may be missing.
        attempt = (record.key, self._began.pop(record.key, None))
        await self.commits.run(lambda db: db.execute(query, attempt).rowcount)

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

    async def set_aside(
        self, record: JobRecord, response: ImagesResponse, files: Files, folder: Path
    ) -> None:
        """Keep a response that could not be recorded, in a file beside the images, for the next run."""
        answer = response_record(response, files, self.folder)
        with suppress(OSError):  # then the job stays unknown
            await run_blocking(set_aside, folder, owner_of(self.path, folder), record, answer)

    async def recover(self, template: OutputTemplate) -> None:
        """Put what earlier runs have received in place, then remove what they have left over."""
        folder = template.temporary_folder
        owner = owner_of(self.path, folder)
        found = await self.commits.run(lambda db: unfinished(db, self.path, folder, owner))
        await run_blocking(put_in_place, found, template, owner)

    async def sent_since(self, at: float) -> list[tuple[str | None, int, float]]:
        """Return the model, images and time of each request of other processes since ``at`` (seconds since 1970)."""
        query = (
            "SELECT model, images, sent_at FROM jobs WHERE sent_at > ? AND process <> ? AND batch IS NULL "
            "AND typeof(sent_at) = 'real' AND typeof(images) = 'integer' AND (model IS NULL OR typeof(model) = 'text')"
        )  # a damaged row is an error when its job is read
        return await self.commits.run(lambda db: db.execute(query, (at, _process())).fetchall())

    async def spent(self) -> Decimal:
        """Return the US dollars that the jobs have cost, or may have cost if their outcome is unknown."""
        query = (
            "SELECT key, cost, reserved, risked FROM jobs WHERE coalesce(cost, reserved, risked) IS NOT NULL"
        )

        def total(db: sqlite3.Connection) -> Decimal:
            return sum(
                (dollars(self.path, key, tuple(row)) for key, *row in db.execute(query)), start=Decimal(0)
            )

        return await self.commits.run(total)

    async def _set(self, record: JobRecord, **columns: object) -> None:
        self._began.pop(record.key, None)
        names = ", ".join(f"{name} = ?" for name in columns)
        query = f"UPDATE jobs SET {names} WHERE key = ?"  # noqa: S608 - constants

        def update(db: sqlite3.Connection) -> None:
            if not db.execute(query, (*columns.values(), record.key)).rowcount:
                raise damaged(self.path, record.key, ValueError("it is gone"))

        await self.commits.run(update)

    def _claim(
        self, db: sqlite3.Connection, item: Item, content: str, images: int, model: str | None
    ) -> JobRecord:
        claimed = db.execute("SELECT key FROM temp.seen WHERE place = ?", (item.place,)).fetchone()
        if claimed is not None:  # a job of a batch that goes live
            again = _record(db, self.path, "key", claimed[0])
            if again is None:
                raise damaged(self.path, claimed[0], ValueError("it is gone"))
            return again
        record = None if item.label is None else _by_label(db, self.path, item.label, content)
        if record is None:
            record = self._next(db, item, content, images, model)
            if record.id != item.label and item.label is not None:
                if self._writes:
                    db.execute("UPDATE jobs SET label = ? WHERE key = ?", (item.label, record.key))
                record = evolve(record, id=item.label)
        db.execute("INSERT INTO temp.seen VALUES (?, ?)", (record.key, item.place))
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
        record = _record(db, self.path, "key", key)
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
        path = await run_blocking(real_path, path)
        yield Journal(path, await run_blocking(take, handle, path, writes), writes=writes)
    finally:
        try:
            with anyio.CancelScope(shield=True):
                await run_blocking(release)
        finally:
            release()


def read_records(path: Path) -> Iterator[JobRecord]:
    """Yield all records of a journal in the order in which their jobs were sent. Blocks. A run may write meanwhile.

    Raises:
        JournalError: If the file is damaged or not a journal.
        OSError: If the file does not exist.
    """
    path = real_path(path)
    path.stat()
    with closing(connected(path)) as connection:
        try:
            for row in connection.execute(_ALL_RECORDS):
                yield record_of(row, path)
        except UNUSABLE as problem:
            raise broken(path, problem) from None


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def check_journal(path: Path) -> list[JournalError]:
    """Return an error for each damaged row of a journal. Blocks.

    Raises:
        JournalError: If the file is not a journal, or damaged as a whole.
        OSError: If the file does not exist.
    """
    path = real_path(path)
    path.stat()
    errors: list[JournalError] = []
    with closing(connected(path)) as connection:
        connection.text_factory = _decoded
        try:
            for row in connection.execute(_ALL_RECORDS):
                try:
                    record_of(row, path)
                except JournalError as error:
                    errors.append(error)
        except UNUSABLE as problem:
            raise broken(path, problem) from None
    return errors


def acknowledge(path: Path, states: Collection[State] = ("refused", "failed")) -> int:
    """Let the refused and failed jobs of a journal rest, and return their number. Blocks.

    The next run reports such a job without sending it, and its outcome is ``acknowledged``.

    Raises:
        JournalError: If a run uses the journal, or it is damaged or not a journal.
        OSError: If the file does not exist or cannot be written.
    """
    path = real_path(path)
    path.stat()
    chosen = ", ".join(f"'{state}'" for state in ("refused", "failed") if state in states)
    query = f"UPDATE jobs SET acknowledged = 1 WHERE acknowledged = 0 AND error IS NOT NULL AND state IN ({chosen})"  # noqa: S608
    with ExitStack() as handle:
        connection = take(handle, path, writes=True).connection
        try:
            return connection.execute(query).rowcount
        except UNUSABLE as problem:
            raise broken(path, problem) from None


_ALL_RECORDS = f"SELECT {COLUMNS} FROM records ORDER BY sent_at IS NULL, sent_at"  # noqa: S608 - constants


def _record(db: sqlite3.Connection, path: Path, column: str, value: str) -> JobRecord | None:
    found = f"FROM records WHERE {column} = ?"
    try:
        row = db.execute(f"SELECT {COLUMNS} {found}", (value,)).fetchone()
    except sqlite3.OperationalError as problem:
        if NOT_UTF8 not in str(problem):
            raise
        [key] = db.execute(f"SELECT key {found}", (value,)).fetchone()
        raise damaged(path, key, problem) from None
    return None if row is None else record_of(row, path)


def _by_label(db: sqlite3.Connection, path: Path, label: str, content: str) -> JobRecord | None:
    record = _record(db, path, "label", label)
    if record is None:
        return None
    if record.key.rpartition("-")[0] != content:
        summary = f"The id {label!r} belongs to another job in the journal."
        raise InvalidRequestError(summary, param="id", value=label, remedies=(Remedy.RENAME_JOB,))
    if _seen(db, record.key):
        summary = f"Two jobs of this run have the id {label!r}."
        raise InvalidRequestError(summary, param="id", value=label, allowed="each id once")
    return record


def write_sending(
    db: sqlite3.Connection,
    path: Path,
    key: str,
    reserved: str | None,
    began: float,
    batch: str | None = None,
    line: int | None = None,
) -> None:
    """Record that an attempt of a job begins: live, or as a line of a batch."""
    query = "SELECT state, reserved, cost, risked FROM jobs WHERE key = ?"
    row = db.execute(query, (key,)).fetchone()
    if row is None:
        raise damaged(path, key, ValueError("it is gone"))
    state, *amounts = row
    if state in {"planned", "refused", "failed"}:  # otherwise an earlier attempt may be billed as well
        amounts = amounts[2:]
    risked = str(dollars(path, key, tuple(amounts))) if any(amounts) else None
    db.execute(
        "UPDATE jobs SET state = 'sending', before = ?, sent_at = ?, process = ?, reserved = ?, cost = NULL, risked = ?, "
        "acknowledged = 0, batch = ?, line = ? WHERE key = ?",
        (state, began, _process(), reserved, risked, batch, line, key),
    )


def _seen(db: sqlite3.Connection, key: str) -> bool:
    return db.execute("SELECT 1 FROM temp.seen WHERE key = ?", (key,)).fetchone() is not None


def _process() -> str:
    return f"{os.getpid()}-{_PROCESS}"
