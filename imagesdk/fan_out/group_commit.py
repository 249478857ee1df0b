"""Group commit: all writes that wait at once share one SQLite transaction.

No transaction stays open: whatever a write raises, the transaction is committed or rolled back. An error of the package
belongs to the write that raised it. Any other error belongs to all writes of the transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

import anyio
from attrs import define, field

from imagesdk._runtime.threads import run_blocking
from imagesdk.errors import ImageSDKError

T = TypeVar("T")


@define(eq=False)
class _Write(Generic[T]):
    """Work on the database, and its result."""

    work: Callable[[sqlite3.Connection], T]
    finished: bool = False
    value: T | None = None
    error: Exception | None = None


@define(eq=False)
class GroupCommit:
    """Transactions on one connection, in worker threads. It belongs to one event loop."""

    connection: sqlite3.Connection
    writes: bool
    explain: Callable[[Exception], ImageSDKError]
    """Converts an error of SQLite, or of a damaged row, to the error to raise."""
    verify: Callable[[], None] = lambda: None
    """Raises an error if what was committed is not in the journal that others see."""
    _lock: anyio.Lock = field(factory=anyio.Lock)
    _waiting: list[_Write[Any]] = field(factory=list[_Write[Any]])

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` in a transaction with all other work that waits, and return when it is on the disk.

        ``work`` may raise an ``ImageSDKError``, but only before its first write.
        """
        write = _Write(work)
        self._waiting.append(write)
        try:
            async with self._lock:
                if not write.finished:
                    batch, self._waiting = self._waiting, []
                    try:
                        with anyio.CancelScope(shield=True):
                            await run_blocking(self._commit, batch)
                    finally:
                        self._waiting[:0] = [other for other in batch if not other.finished]
        finally:
            if write in self._waiting:
                self._waiting.remove(write)
        if write.error is not None:
            raise write.error
        return cast("T", write.value)

    def _commit(self, batch: list[_Write[Any]]) -> None:
        db = self.connection
        try:
            db.execute("BEGIN IMMEDIATE" if self.writes else "BEGIN")
            for write in batch:
                try:
                    write.value = write.work(db)
                except ImageSDKError as error:
                    write.error = error
            db.execute("COMMIT")
            self.verify()
        except Exception as problem:  # noqa: BLE001 - raised by each write that waits for the commit
            if db.in_transaction:
                db.rollback()
            explained = self._explained(problem)
            for write in batch:
                write.error = explained
        for write in batch:
            write.finished = True

    def _explained(self, problem: Exception) -> ImageSDKError:
        try:
            self.verify()  # a file that was removed explains any error
        except ImageSDKError as error:
            return error
        return problem if isinstance(problem, ImageSDKError) else self.explain(problem)
