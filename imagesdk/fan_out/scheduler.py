"""Scheduler of a run: starts jobs one after the other and holds their outcomes until the caller takes them.

====================================================  ==================================================
event                                                 effect
====================================================  ==================================================
a permit is granted to a job, or the job ends         the next job is read: one job at most waits for
                                                      the rate limit
``concurrency`` jobs are in flight                    reading pauses
:data:`AHEAD` outcomes are unread, images in memory   reading pauses
a job fails                                           the others continue
the server is away (:mod:`.breaker`)                  all wait, one job at a time probes
``stop()``                                            reading ends, a job that waits for its permit is
                                                      cancelled, the others finish
an error that would hit every job                     as ``stop()``; raised after the last outcome
``max_failures`` jobs failed                          the same, with ``RunStoppedError``
====================================================  ==================================================
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Protocol

import anyio
import anyio.abc
import anyio.lowlevel
from attrs import evolve

from imagesdk._runtime.loops import call_soon, running_loop
from imagesdk._runtime.notify import Notifier
from imagesdk._transport.exchange import RELEASE_LIMIT
from imagesdk.errors import RunStoppedError
from imagesdk.fan_out.job_source import Item
from imagesdk.fan_out.outcomes import JobResult, LaneProgress, Notice, Outcome, Progress
from imagesdk.fan_out.progress import ProgressCounter
from imagesdk.fan_out.worker import JobWorker
from imagesdk.remedies import Remedy

AHEAD = 16
"""Unread outcomes with images in memory at which reading pauses."""


class JobFeed(Protocol):
    """The jobs of a run that go live: all of them, or those that a batch lane hands over."""

    counts_jobs: bool
    """Whether the feed, rather than the scheduler, counts the jobs that were read."""

    @property
    def lane(self) -> LaneProgress | None:
        """The batches of the run. Thread-safe."""

    @property
    def total(self) -> int | None:
        """Number of jobs, if it is known."""

    async def next(self) -> Item | None:
        """Return the next job, or ``None`` after the last one."""

    def measure_call(self, seconds: float) -> None:
        """Take the time of a live call, from its permit to its end."""

    async def aclose(self) -> None:
        """End the feed."""


class Scheduler:
    """State of a run. It belongs to one event loop, except for ``stop`` and ``progress``.

    Args:
        changes: Notified at each change that the scheduler or a worker may wait for.
        bounded_memory: Whether unread outcomes pause the reading of jobs.
    """

    def __init__(
        self,
        reader: JobFeed,
        worker: JobWorker,
        changes: Notifier,
        *,
        concurrency: int | None,
        bounded_memory: bool,
        max_failures: int | None,
    ) -> None:
        self._reader = reader
        self._worker = worker
        self._changes = changes
        self._concurrency = concurrency
        self._bounded_memory = bounded_memory
        self._max_failures = max_failures
        self._failures = 0
        self._loop = running_loop()
        self._counter = ProgressCounter(reader.total, time.monotonic())
        self._ready_outcomes: deque[Outcome] = deque()
        self._in_flight = 0
        self._all_read = False
        self._stopping = False
        self.failure: Exception | None = None
        """Error that ended the run early, until ``next`` has raised it."""
        self._stop_scope: anyio.CancelScope | None = None
        """Scope that a stop cancels: the reading of a job, or a job without a permit."""

    def progress(self) -> Progress:
        """Return a snapshot of the run. Thread-safe."""
        counts = self._counter.snapshot(time.monotonic(), self._worker.limit())
        lane = self._reader.lane
        return counts if lane is None else evolve(counts, lane=lane)

    @property
    def notices(self) -> tuple[Notice, ...]:
        """Advice about the run so far. Thread-safe."""
        return self._worker.notices

    def stop(self) -> None:
        """Start no further job. Thread-safe."""
        self._stopping = True
        call_soon(self._loop, self._cancel_waiting)

    async def run(self, tasks: anyio.abc.TaskGroup) -> None:
        """Start all jobs as tasks of ``tasks``."""
        try:
            while await self._may_start():
                item: Item | None = None
                with self._cancel_on_stop():
                    item = await self._reader.next()
                if item is None:
                    if not self._stopping:
                        self._counter.complete()
                    return
                if not self._reader.counts_jobs:
                    self._counter.started()
                self._in_flight += 1
                next_may_start = anyio.Event()
                tasks.start_soon(self._run_job, item, next_may_start)
                await next_may_start.wait()
        except Exception as error:  # noqa: BLE001 - of the caller's iterator: raised after the last outcome
            self.fail(error)
        finally:
            self._all_read = True
            self._changes.notify()
            with anyio.move_on_after(RELEASE_LIMIT, shield=True):
                await self._reader.aclose()

    async def next(self) -> Outcome | None:
        """Return the next outcome, or ``None`` after the last one. Raise the error that ended the run early."""
        await anyio.lowlevel.checkpoint()
        while not self._ready_outcomes:
            if self._all_read and not self._in_flight:
                if self.failure is None:
                    return None
                error, self.failure = self.failure, None
                raise error
            await self._changes.wait()
        outcome = self._ready_outcomes.popleft()
        self._changes.notify()
        return outcome

    async def _may_start(self) -> bool:
        """Wait until another job may start. Return ``False`` if the run stops."""
        while not self._stopping:
            full = self._concurrency is not None and self._in_flight >= self._concurrency
            if not full and not (self._bounded_memory and len(self._ready_outcomes) >= AHEAD):
                return True
            await self._changes.wait()
        return False

    @contextmanager
    def _cancel_on_stop(self) -> Generator[Callable[[], None], None, None]:
        """Let a stop cancel the block, until the block ends or the function that it gets is called."""

        def keep() -> None:
            if self._stop_scope is scope:
                self._stop_scope = None

        with anyio.CancelScope() as scope:
            self._stop_scope = scope
            if self._stopping:
                scope.cancel()
            try:
                yield keep
            finally:
                keep()

    async def _run_job(self, item: Item, next_may_start: anyio.Event) -> None:
        result: JobResult | None = None
        granted_at: float | None = None
        try:
            with self._cancel_on_stop() as keep:

                def on_granted() -> None:
                    nonlocal granted_at
                    granted_at = time.monotonic()
                    keep()
                    next_may_start.set()

                result = await self._worker.run(item, on_granted)
                if granted_at is not None:
                    self._reader.measure_call(time.monotonic() - granted_at)
        except Exception as error:  # noqa: BLE001 - not the job's own: raised after the last outcome
            self.fail(error)
        finally:
            next_may_start.set()
            self._in_flight -= 1
            if result is None or result.outcome is None:
                self._counter.cancelled()
            else:
                self._end(result.outcome)
            fatal = self._worker.gate.error if result is None else result.fatal or self._worker.gate.error
            if fatal is not None:
                self.fail(fatal)
            self._changes.notify()

    def took(self) -> None:
        """Count a job that the batch lane has read."""
        self._counter.started()

    def post(self, result: JobResult) -> None:
        """Take the outcome of a job of the batch lane."""
        if result.outcome is None:
            self._counter.cancelled()
        else:
            self._end(result.outcome)
        if result.fatal is not None:
            self.fail(result.fatal)
        self._changes.notify()

    def _end(self, outcome: Outcome) -> None:
        self._counter.ended(outcome, time.monotonic())
        self._ready_outcomes.append(outcome)
        self._count_failure(outcome)

    def _count_failure(self, outcome: Outcome) -> None:
        """End the run after as many failures as the caller allows."""
        if outcome.resumed or outcome.status not in {"failed", "unknown"}:
            return
        self._failures += 1
        if self._failures == self._max_failures:
            last = getattr(outcome.error, "summary", outcome.error)
            summary = f"{self._failures} jobs failed, so the run ended. The last failure: {last}"
            remedies = (Remedy.RESUME_RUN, Remedy.RAISE_MAX_FAILURES)
            self.fail(
                RunStoppedError(summary, reason="max_failures", last_error=outcome.error, remedies=remedies)
            )

    def fail(self, error: Exception) -> None:
        """Start no further job, and raise the error after the last outcome."""
        self.failure = self.failure or error
        self._stopping = True
        self._cancel_waiting()

    def _cancel_waiting(self) -> None:
        self._worker.gate.close()
        if self._stop_scope is not None:
            self._stop_scope.cancel()
        self._changes.notify()
