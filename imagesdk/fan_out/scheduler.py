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
from imagesdk._runtime.notify import Notifier
from imagesdk._transport.exchange import RELEASE_LIMIT
from imagesdk.fan_out.job_source import Item, JobReader
from imagesdk.fan_out.outcomes import JobResult, Outcome, Progress
from imagesdk.fan_out.progress import ProgressCounter
from imagesdk.policies import RateLimit

AHEAD = 16
"""Outcomes with pictures in memory that nobody has taken yet: so many hold back new jobs."""


class Worker(Protocol):
    """Makes one job."""

    async def run(self, item: Item, granted: Callable[[], None]) -> JobResult:
        """Bring a job to its outcome; ``granted`` is called when it need not wait for the limit any more."""
        ...

    def limit(self) -> RateLimit | None:
        """Return the rate limit that jobs wait for."""
        ...


class Scheduler:
    """The state of a run. Made and used on one event loop, but for ``stop`` and ``progress``."""

    def __init__(
        self, reader: JobReader, maker: Worker, *, concurrency: int | None, bounded_memory: bool
    ) -> None:
        self._reader = reader
        self._maker = maker
        self._concurrency = concurrency
        self._bounded_memory = bounded_memory
        self._loop = running_loop()
        self._tally = ProgressCounter(reader.total, time.monotonic())
        self._ready_outcomes: deque[Outcome] = deque()
        self._in_flight = 0
        self._fed = False
        self._stopping = False
        self._failure: Exception | None = None
        self._change = Notifier()
        self._cancel_on_stop: anyio.CancelScope | None = None
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

    async def run(self, tasks: anyio.abc.TaskGroup) -> None:
        """Start all jobs, in tasks of ``tasks``."""
        try:
            while await self._room():
                item = await self._stoppable(self._reader.next)
                if item is None:
                    if not self._stopping:
                        self._tally.complete()
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
            self._change.notify()
            with anyio.move_on_after(RELEASE_LIMIT, shield=True):
                await self._reader.aclose()

    async def next(self) -> Outcome | None:
        """Return the next outcome; ``None`` after the last one.

        Raises:
            Exception: what ended the run before its time.
        """
        await anyio.lowlevel.checkpoint()
        while not self._ready_outcomes:
            if self._fed and not self._in_flight:
                error, self._failure = self._failure, None
                if error is not None:
                    raise error
                return None
            await self._change.wait()
        outcome = self._ready_outcomes.popleft()
        self._change.notify()
        return outcome

    async def _room(self) -> bool:
        """Wait until another job may begin; ``False`` when none may."""
        while not self._stopping:
            full = self._concurrency is not None and self._in_flight >= self._concurrency
            if not full and not (self._bounded_memory and len(self._ready_outcomes) >= AHEAD):
                return True
            await self._change.wait()
        return False

    async def _stoppable(self, read: Callable[[], Awaitable[Item | None]]) -> Item | None:
        with anyio.CancelScope() as self._cancel_on_stop:
            return await read()
        return None

    async def _make(self, item: Item, turn: anyio.Event) -> None:
        made: JobResult | None = None
        scope = anyio.CancelScope()

        def granted() -> None:
            if self._cancel_on_stop is scope:
                self._cancel_on_stop = None
            turn.set()

        try:
            with scope:
                self._cancel_on_stop = scope
                if self._stopping:
                    scope.cancel()
                made = await self._maker.run(item, granted)
        except Exception as error:  # noqa: BLE001 - not the job's: it is told when the outcomes have been
            self._fail(error)
        finally:
            granted()
            self._in_flight -= 1
            if made is None:
                self._tally.cancelled()
            else:
                self._tally.ended(made.outcome, time.monotonic())
                self._ready_outcomes.append(made.outcome)
                if made.fatal is not None:
                    self._fail(made.fatal)
            self._change.notify()

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        self._stopping = True
        self._end_waiting()

    def _end_waiting(self) -> None:
        if self._cancel_on_stop is not None:
            self._cancel_on_stop.cancel()
        self._change.notify()
