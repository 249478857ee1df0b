"""No rate limit: only a bound on how many calls of one client are under way at once on a loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count

import anyio

from imagesdk._protocol.server_limits import ServerLimits
from imagesdk._ratelimit.limiter import OnWait
from imagesdk._ratelimit.queue import Permit
from imagesdk._runtime.loops import PerLoop
from imagesdk.errors import LimitWaitError

CONCURRENCY = 64
"""Calls under way at once where no rate limit stands in front."""


class ConcurrencyLimiter:
    """First come, first served permits for the calls of one client."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._numbers = count()
        self._permits = PerLoop(lambda: anyio.Semaphore(CONCURRENCY))
        self._held: dict[Permit, anyio.Semaphore] = {}

    @property
    def limit(self) -> None:
        """There is none."""
        return None

    def remember(self, weight: int, sent_at: float) -> None:
        """Nothing to count."""

    def enqueue(self, weight: int, *, rejoin: Permit | None = None) -> Permit:
        """Ask for a permit, whatever the weight."""
        return Permit(weight, next(self._numbers))

    async def wait(self, permit: Permit, *, deadline: float | None, on_wait: OnWait | None = None) -> None:
        """Return when there is a permit.

        Raises:
            LimitWaitError: none came before ``deadline``.
        """
        if permit.granted:
            return
        permits = self._permits.get()
        with anyio.move_on_after(None if deadline is None else max(0.0, deadline - self._clock())):
            await permits.acquire()
            self._held[permit] = permits
            permit.granted = True
        if not permit.granted:
            raise LimitWaitError(f"{CONCURRENCY} calls were under way for the whole time-out.")

    def sent(self, permit: Permit) -> None:
        """Nothing to note."""

    def accepted(self, permit: Permit, said: ServerLimits, tokens: int | None) -> None:
        """Nothing to note."""

    def rejected(self, permit: Permit, said: ServerLimits) -> None:
        """Nothing to learn: the retry policy waits."""

    def release(self, permit: Permit) -> None:
        """Give the permit back."""
        if permits := self._held.pop(permit, None):
            permits.release()
