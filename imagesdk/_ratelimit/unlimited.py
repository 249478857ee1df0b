"""Concurrency limit for clients without a rate limit: the calls of one client that run at once on a loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from itertools import count

import anyio

from imagesdk._protocol.server_limits import ServerLimits
from imagesdk._ratelimit.limiter import OnWait
from imagesdk._ratelimit.queue import Permit
from imagesdk._runtime.loops import PerLoop
from imagesdk.errors import LimitWaitError

CONCURRENCY = 64
"""Concurrent calls of a client without a rate limit."""


class ConcurrencyLimiter:
    """Permits for concurrent calls of one client, first come, first served."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._numbers = count()
        self._semaphores = PerLoop(lambda: anyio.Semaphore(CONCURRENCY))
        self._held: dict[Permit, anyio.Semaphore] = {}

    @property
    def limit(self) -> None:
        """No rate limit."""
        return None

    def remember(self, sendings: Iterable[tuple[int, float]]) -> None:
        """Do nothing: requests are not counted."""

    def enqueue(self, weight: int, *, rejoin: Permit | None = None) -> Permit:
        """Return a permit, whatever the weight."""
        return Permit(weight, next(self._numbers))

    async def wait(self, permit: Permit, *, deadline: float | None, on_wait: OnWait | None = None) -> None:
        """Return when fewer than :data:`CONCURRENCY` other calls are running."""
        if permit.granted:
            return
        semaphore = self._semaphores.get()
        with anyio.move_on_after(None if deadline is None else max(0.0, deadline - self._clock())):
            await semaphore.acquire()
            self._held[permit] = semaphore
            permit.granted = True
        if not permit.granted:
            raise LimitWaitError(f"{CONCURRENCY} calls were under way for the whole time-out.")

    def sent(self, permit: Permit) -> None:
        """Do nothing: requests are not counted."""

    def accepted(self, permit: Permit, stated: ServerLimits, tokens: int | None) -> None:
        """Do nothing: the limits of the server do not apply."""

    def answered(self, permit: Permit, stated: ServerLimits, *, uncounted: bool) -> None:
        """Do nothing: requests are not counted."""

    def rejected(self, permit: Permit, stated: ServerLimits) -> None:
        """Do nothing: the retry policy waits after a 429."""

    def release(self, permit: Permit) -> None:
        """Let the next call run."""
        if semaphore := self._held.pop(permit, None):
            semaphore.release()
