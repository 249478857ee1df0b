"""No rate limit: only a bound on how many calls of one client are under way at once on a loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count

import anyio

from imagesdk._protocol.limits import SaidLimits
from imagesdk._protocol.line import Ticket
from imagesdk._runtime.loops import PerLoop
from imagesdk.budgets import OnWait
from imagesdk.errors import LimitWaitError

CONCURRENCY = 64
"""Calls under way at once where no rate limit stands in front."""


class Unlimited:
    """First come, first served permits for the calls of one client."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._numbers = count()
        self._permits = PerLoop(lambda: anyio.Semaphore(CONCURRENCY))
        self._held: dict[Ticket, anyio.Semaphore] = {}

    @property
    def limit(self) -> None:
        """There is none."""
        return None

    def remember(self, weight: int, sent_at: float) -> None:
        """Nothing to count."""

    def enqueue(self, weight: int, *, place_of: Ticket | None = None) -> Ticket:
        """Ask for a permit, whatever the weight."""
        return Ticket(weight, next(self._numbers))

    async def wait(self, ticket: Ticket, *, deadline: float | None, on_wait: OnWait | None = None) -> None:
        """Return when there is a permit.

        Raises:
            LimitWaitError: none came before ``deadline``.
        """
        if ticket.granted:
            return
        permits = self._permits.get()
        with anyio.move_on_after(None if deadline is None else max(0.0, deadline - self._clock())):
            await permits.acquire()
            self._held[ticket] = permits
            ticket.granted = True
        if not ticket.granted:
            raise LimitWaitError(f"{CONCURRENCY} calls were under way for the whole time-out.")

    def sent(self, ticket: Ticket) -> None:
        """Nothing to note."""

    def proven(self, ticket: Ticket, said: SaidLimits, tokens: int | None) -> None:
        """Nothing to note."""

    def throttled(self, ticket: Ticket, said: SaidLimits) -> None:
        """Nothing to learn: the retry policy waits."""

    def release(self, ticket: Ticket) -> None:
        """Give the permit back."""
        if permits := self._held.pop(ticket, None):
            permits.release()
