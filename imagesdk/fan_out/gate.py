"""Gate of a run: jobs wait here while the run is paused. :mod:`.breaker` has the rule."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import anyio
from attrs import define

from imagesdk._protocol.retry import Failure
from imagesdk._runtime.notify import Notifier
from imagesdk.errors import APIError
from imagesdk.fan_out.breaker import Breaker

_logger = logging.getLogger("imagesdk")


class PausedError(Exception):
    """An attempt may not start now: the run is paused or ends."""


@define(eq=False)
class Gate:
    """Gate in front of every attempt of a run."""

    breaker: Breaker
    changes: Notifier
    """Notified when jobs may start, and when the run ends."""
    clock: Callable[[], float] = anyio.current_time
    _closed: bool = False

    @property
    def error(self) -> Exception | None:
        """Error that ended the run."""
        return self.breaker.error

    def close(self) -> None:
        """Let no waiting job in any more."""
        self._closed = True
        self.changes.notify()

    async def enter(self, job: int) -> bool:
        """Wait until a job may be sent. Return ``False`` if the run ends first."""
        while (seconds := self.breaker.enter(job, self.clock())) is not None:
            if self._closed or self.error is not None:
                self.changes.notify()
                return False
            with anyio.move_on_after(None if math.isinf(seconds) else seconds):
                await self.changes.wait()
        return True

    def check(self, job: int) -> None:
        """Raise ``PausedError`` if no attempt of the job may start now."""
        if not self.breaker.admits(job):
            raise PausedError

    def leave(self, job: int) -> None:
        """Forget a job that has ended."""
        self.breaker.leave(job, self.clock())
        if self.breaker.paused:
            self.changes.notify()

    def succeeded(self, job: int) -> None:
        """Record an attempt that succeeded."""
        was_paused = self.breaker.paused
        self.breaker.succeeded(job)
        self._report(was_paused)

    def failed(self, job: int, failure: Failure) -> bool:
        """Record a failed attempt. Return whether the call may make another attempt by itself."""
        was_paused = self.breaker.paused
        may_retry = self.breaker.failed(job, failure, self.clock())
        self._report(was_paused)
        return may_retry

    def gave_up(self, error: APIError) -> bool:
        """Record that a job has used up its attempts. Return whether the run is paused."""
        was_paused = self.breaker.paused
        self.breaker.gave_up(error, self.clock())
        self._report(was_paused)
        return self.breaker.paused

    def _report(self, was_paused: bool) -> None:
        reason = self.breaker.reason
        if reason is not None and not was_paused:
            _logger.warning("the run pauses and probes the server with one job (%s)", type(reason).__name__)
        elif reason is None and was_paused:
            _logger.warning("the server answers again, and the run continues")
        if was_paused or reason is not None:
            self.changes.notify()


class OpenGate(Gate):
    """Gate of a single job, which never pauses."""

    def __init__(self) -> None:
        super().__init__(Breaker(None, stop_on_fatal=False), Notifier())

    async def enter(self, job: int) -> bool:
        """Let the job in."""
        return True

    def check(self, job: int) -> None:
        """Let every attempt start."""

    def leave(self, job: int) -> None:
        """Do nothing."""

    def succeeded(self, job: int) -> None:
        """Do nothing."""

    def failed(self, job: int, failure: Failure) -> bool:
        """Leave retries to the engine."""
        return True

    def gave_up(self, error: APIError) -> bool:
        """Do nothing: there is no pause."""
        return False
