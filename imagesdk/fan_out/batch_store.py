"""Batches of a run in its journal. A batch has a row, its *intent*, before it is created.

=============  ========================================  ==================================================
write          when                                      afterwards
=============  ========================================  ==================================================
``begin``      before the creation                       the batch is ``submitting``, its jobs ``sending``
``created``    the server has named its id               ``submitted``
``release``    a line was provably not begun             the job has the state before ``begin``
``close``      every line has an end                     ``ended``
=============  ========================================  ==================================================

A job is in one batch at most. The line of a job in the input file is the place of the job in the list.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from decimal import Decimal
from time import time
from typing import Final

from attrs import evolve, frozen

from imagesdk.fan_out.journal import Journal, write_sending
from imagesdk.fan_out.rows import COLUMNS, dollars, record_of
from imagesdk.fan_out.store import JobRecord

_STARTED: Final = "started"
_FRESH: Final = 2 * 24 * 3600.0
"""Seconds that an upload must still live to be used for a new batch."""


@frozen
class StoredBatch:
    """A batch that has not ended, as the journal has it."""

    intent: str
    id: str | None
    """``None`` until the server has named it."""
    endpoint: str
    model: str | None
    input_file: str
    lines: int
    began: float
    """The time of the intent, in seconds since 1970."""


@frozen
class BatchStore:
    """The batches of one run."""

    journal: Journal

    async def started(self) -> float:
        """Return the time of the first start of the run, in seconds since 1970."""

        def read(db: sqlite3.Connection) -> float:
            db.execute("INSERT OR IGNORE INTO facts VALUES (?, ?)", (_STARTED, time()))
            [value] = db.execute("SELECT value FROM facts WHERE name = ?", (_STARTED,)).fetchone()
            return float(value)

        return await self.journal.transact(read)

    async def finished(self) -> None:
        """Forget the first start: all jobs have their outcomes."""
        query = "DELETE FROM facts WHERE name = ?"
        await self.journal.transact(lambda db: db.execute(query, (_STARTED,)).rowcount)

    async def ended_jobs(self) -> int:
        """Return the number of jobs that a run would not send again by itself."""
        query = "SELECT count(*) FROM jobs WHERE state NOT IN ('planned', 'failed', 'sending')"
        return int(await self.journal.transact(lambda db: db.execute(query).fetchone()[0]))

    async def open_batches(self) -> list[StoredBatch]:
        """Return the batches that have not ended."""
        query = (
            "SELECT intent, id, endpoint, model, input_file, lines, began FROM batches "
            "WHERE state <> 'ended' ORDER BY began"
        )
        rows = await self.journal.transact(lambda db: db.execute(query).fetchall())
        return [StoredBatch(*row) for row in rows]

    async def begin(self, batch: StoredBatch, lines: Iterable[tuple[str, int, str | None]]) -> None:
        """Record a batch and its lines: the key of each job, its line, and the US dollars that are reserved for it."""
        path = self.journal.path
        row = (
            batch.intent,
            batch.id,
            batch.endpoint,
            batch.model,
            batch.input_file,
            batch.lines,
            batch.began,
        )

        def write(db: sqlite3.Connection) -> None:
            for key, line, reserved in lines:
                write_sending(db, path, key, reserved, batch.began, batch.intent, line)
            db.execute("INSERT INTO batches VALUES (?, ?, 'submitting', ?, ?, ?, ?, ?)", row)

        await self.journal.transact(write)

    async def created(self, intent: str, batch_id: str) -> None:
        """Record the id that the server has given to a batch."""
        query = "UPDATE batches SET id = ?, state = 'submitted' WHERE intent = ?"
        await self.journal.transact(lambda db: db.execute(query, (batch_id, intent)).rowcount)

    async def release(self, intent: str, lines: Iterable[int]) -> None:
        """Give jobs the states that they had before the batch, which has not begun them."""
        query = (
            "UPDATE jobs SET state = before, sent_at = NULL, reserved = NULL, batch = NULL, line = NULL "
            "WHERE batch = ? AND line = ? AND state = 'sending'"
        )
        pairs = [(intent, line) for line in lines]
        await self.journal.transact(lambda db: db.executemany(query, pairs).rowcount)

    async def close(self, intent: str) -> None:
        """Record that a batch has ended, unless it has lines without an end."""
        query = (
            "UPDATE batches SET state = 'ended' WHERE intent = ?1 "
            "AND NOT EXISTS (SELECT 1 FROM jobs WHERE batch = ?1 AND state = 'sending')"
        )
        await self.journal.transact(lambda db: db.execute(query, (intent,)).rowcount)

    async def line_of(self, key: str) -> tuple[int, Decimal | None] | None:
        """Return the line of a job in its batch, and the US dollars that are reserved for it."""
        query = "SELECT line, reserved FROM jobs WHERE key = ? AND typeof(line) = 'integer'"
        path = self.journal.path

        def read(db: sqlite3.Connection) -> tuple[int, Decimal | None] | None:
            row = db.execute(query, (key,)).fetchone()
            if row is None:
                return None
            return int(row[0]), None if row[1] is None else dollars(path, key, (row[1],))

        return await self.journal.transact(read)

    async def record(self, intent: str, line: int) -> JobRecord | None:
        """Return the record of an open line, with the state that its job had before the batch."""
        query = f"SELECT {COLUMNS} FROM records WHERE key = ?"  # noqa: S608 - constants
        path = self.journal.path

        def read(db: sqlite3.Connection) -> JobRecord | None:
            found = "SELECT key, before FROM jobs WHERE batch = ? AND line = ? AND state = 'sending'"
            row = db.execute(found, (intent, line)).fetchone()
            if row is None:
                return None
            record = record_of(db.execute(query, (row[0],)).fetchone(), path)
            return evolve(record, state=row[1])

        return await self.journal.transact(read)

    async def uploads(self) -> dict[str, str]:
        """Return the file ids of uploaded images by the SHA-256 of their content."""
        query = "SELECT sha256, file FROM uploads WHERE expires > ?"
        since = time() + _FRESH
        return dict(await self.journal.transact(lambda db: db.execute(query, (since,)).fetchall()))

    async def uploaded(self, sha256: str, file: str, life: float) -> None:
        """Record the file id of an uploaded image."""
        query = "INSERT OR REPLACE INTO uploads VALUES (?, ?, ?)"
        row = (sha256, file, time() + life)
        await self.journal.transact(lambda db: db.execute(query, row).rowcount)
