"""Who goes next: the jobs of a run are started one behind the other, and their outcomes kept until they are taken.

Rules: the next job is read when the one before it has its grant (or has ended), so that never more than one of a run
stands in line for the rate limit; one job that fails ends no other; what ends the whole run is told after the last
outcome.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio
import anyio.abc
import anyio.lowlevel

from imagesdk._runtime.loops import call_soon, running_loop
from imagesdk._runtime.notify import Change
from imagesdk._transport.exchange import RELEASE_LIMIT
from imagesdk.fan_out.job_source import Item, JobReader
from imagesdk.fan_out.outcomes import Made, Outcome, Progress
from imagesdk.fan_out.progress import Tally
from imagesdk.policies import RateLimit

AHEAD = 16
"""Outcomes with pictures in memory that nobody has taken yet: so many hold back new jobs."""


class Maker(Protocol):
    """Makes one job."""

    async def make(self, item: Item, granted: Callable[[], None]) -> Made:
        """Bring a job to its outcome; ``granted`` is called when it need not wait for the limit any more."""
        ...

    def limit(self) -> RateLimit | None:
        """Return the rate limit that jobs wait for."""
        ...


class Feeder:
    """The state of a run. Made and used on one event loop, but for ``stop`` and ``progress``."""

    def __init__(self, reader: JobReader, maker: Maker, *, concurrency: int | None, holds_back: bool) -> None:
        self._reader = reader
        self._maker = maker
        self._concurrency = concurrency
        self._holds_back = holds_back
        self._loop = running_loop()
        self._tally = Tally(reader.total, time.monotonic())
        self._untaken: deque[Outcome] = deque()
        self._in_flight = 0
        self._fed = False
        self._stopping = False
        self._failure: Exception | None = None
        self._change = Change()
        self._stopped_by: anyio.CancelScope | None = None
        """What a stop cancels: the reading of a job, or its wait for the limit."""

    @property
    def failure(self) -> Exception | None:
        """What ended the run before its time, until it has been told."""
        return self._failure

    def progress(self) -> Progress:
        """Return how far it has come."""
        return self._tally.snapshot(time.monotonic(), self._maker.limit())

    def stop(self) -> None:
        """Begin no further job."""
        self._stopping = True
        call_soon(self._loop, self._end_waiting)

    async def feed(self, tasks: anyio.abc.TaskGroup) -> None:
        """Start all jobs, in tasks of ``tasks``."""
        try:
            while await self._room():
                item = await self._stoppable(self._reader.next)
                if item is None:
                    if not self._stopping:
                        self._tally.exhausted()
                    return
                self._tally.started()
                self._in_flight += 1
                turn = anyio.Event()
                tasks.start_soon(self._make, item, turn)
                await turn.wait()
        except Exception as error:  # noqa: BLE001 - of the caller's iterator: told when the outcomes have been
            self._fail(error)
        finally:
            self._fed = True
            self._change.tell()
            with anyio.move_on_after(RELEASE_LIMIT, shield=True):
                await self._reader.aclose()

    async def next(self) -> Outcome | None:
        """Return the next outcome; ``None`` after the last one.

        Raises:
            Exception: what ended the run before its time.
        """
        await anyio.lowlevel.checkpoint()
        while not self._untaken:
            if self._fed and not self._in_flight:
                error, self._failure = self._failure, None
                if error is not None:
                    raise error
                return None
            await self._change.wait()
        outcome = self._untaken.popleft()
        self._change.tell()
        return outcome

    async def _room(self) -> bool:
        """Wait until another job may begin; ``False`` when none may."""
        while not self._stopping:
            full = self._concurrency is not None and self._in_flight >= self._concurrency
            if not full and not (self._holds_back and len(self._untaken) >= AHEAD):
                return True
            await self._change.wait()
        return False

    async def _stoppable(self, read: Callable[[], Awaitable[Item | None]]) -> Item | None:
        with anyio.CancelScope() as self._stopped_by:
            return await read()
        return None

    async def _make(self, item: Item, turn: anyio.Event) -> None:
        made: Made | None = None
        scope = anyio.CancelScope()

        def granted() -> None:
            if self._stopped_by is scope:
                self._stopped_by = None
            turn.set()

        try:
            with scope:
                self._stopped_by = scope
                if self._stopping:
                    scope.cancel()
                made = await self._maker.make(item, granted)
        except Exception as error:  # noqa: BLE001 - not the job's: it is told when the outcomes have been
            self._fail(error)
        finally:
            granted()
            self._in_flight -= 1
            if made is None:
                self._tally.withdrawn()
            else:
                self._tally.ended(made.outcome, time.monotonic())
                self._untaken.append(made.outcome)
                if made.fatal is not None:
                    self._fail(made.fatal)
            self._change.tell()

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        self._stopping = True
        self._end_waiting()

    def _end_waiting(self) -> None:
        if self._stopped_by is not None:
            self._stopped_by.cancel()
        self._change.tell()
