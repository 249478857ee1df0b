"""Calls that wait for a rate limit, with a clock that only the test moves."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio

from imagesdk import LimitWaitError, RateLimit
from imagesdk._ratelimit.queue import Permit
from imagesdk._ratelimit.shared import SharedLimiter, Waiter
from tests.support.patient_waiters import PatientWaiter

WINDOW = 60.0
LONGER = WINDOW * 1.01
"""A window with its margin."""


class Clock:
    """Seconds that pass only when the test moves them."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class TimedLimiter(SharedLimiter):
    """A limiter with a clock of its own."""

    def __init__(self, limit: RateLimit, *, adaptive: bool = False) -> None:
        self.clock = Clock()
        super().__init__(limit, adaptive=adaptive, clock=self.clock)

    async def _wait(self, waiter: Waiter) -> None:
        await super()._wait(PatientWaiter(waiter.permit, waiter.deadline, waiter.on_wait))

    async def fill(self) -> Permit:
        """Grant four images a second ago, and return the permit."""
        permit = self.enqueue(4)
        await self.wait(permit, deadline=None)
        self.clock.now += 1
        return permit


async def send(limiter: SharedLimiter, weight: int = 1) -> Permit:
    """Send a request, and return its permit."""
    permit = limiter.enqueue(weight)
    await limiter.wait(permit, deadline=None)
    limiter.sent(permit)
    return permit


class WaitingCalls:
    """Waiting calls, and the order in which they are granted."""

    def __init__(self, limiter: SharedLimiter) -> None:
        self._limiter = limiter
        self.granted: list[str] = []
        self.scopes: dict[str, anyio.CancelScope] = {}

    async def join(self, name: str, permit: Permit, deadline: float | None = None) -> None:
        with anyio.CancelScope() as scope:
            self.scopes[name] = scope
            try:
                await self._limiter.wait(permit, deadline=deadline)
            except LimitWaitError:
                self.granted.append(f"{name}: too late")
                self._limiter.release(permit)
            else:
                self.granted.append(name)

    async def after(self, seconds: float) -> list[str]:
        """Let time pass, and return the calls that were granted by then."""
        assert isinstance(self._limiter, TimedLimiter)
        self._limiter.clock.now += seconds
        self._limiter.release(Permit(1, -1))  # wakes waiting calls, as any other call would
        await anyio.wait_all_tasks_blocked()
        return self.granted


@asynccontextmanager
async def line(limiter: SharedLimiter, **permits: Permit) -> AsyncGenerator[WaitingCalls, None]:
    """Let calls wait for permits while the block runs."""
    waiting = WaitingCalls(limiter)
    async with anyio.create_task_group() as tasks:
        for name, permit in permits.items():
            tasks.start_soon(waiting.join, name, permit)
        await anyio.wait_all_tasks_blocked()
        yield waiting
        tasks.cancel_scope.cancel()
