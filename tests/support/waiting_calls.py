"""Calls that wait for a rate limit, with a clock that stands still unless a test moves it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio

from imagesdk import LimitWaitError
from imagesdk._protocol.line import Ticket
from imagesdk.budgets.memory import MemoryBudget

WINDOW = 60.0
LONGER = WINDOW * 1.01
"""A window and the margin of ours."""


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Line:
    """Calls that wait, and the order in which they may go."""

    def __init__(self, budget: MemoryBudget, clock: Clock) -> None:
        self._budget = budget
        self._clock = clock
        self.went: list[str] = []
        self.scopes: dict[str, anyio.CancelScope] = {}

    async def join(self, name: str, ticket: Ticket, deadline: float | None = None) -> None:
        with anyio.CancelScope() as scope:
            self.scopes[name] = scope
            try:
                await self._budget.wait(ticket, deadline=deadline)
            except LimitWaitError:
                self.went.append(f"{name}: too late")
                self._budget.release(ticket)
            else:
                self.went.append(name)

    async def after(self, seconds: float) -> list[str]:
        """Let time pass, and return who has gone by then."""
        self._clock.now += seconds
        self._budget.release(Ticket(1, -1))  # wakes those who wait, as any other call would
        await anyio.wait_all_tasks_blocked()
        return self.went


@asynccontextmanager
async def line(budget: MemoryBudget, clock: Clock, **tickets: Ticket) -> AsyncGenerator[Line, None]:
    """Have tickets wait while the block runs."""
    waiting = Line(budget, clock)
    async with anyio.create_task_group() as tasks:
        for name, ticket in tickets.items():
            tasks.start_soon(waiting.join, name, ticket)
        await anyio.wait_all_tasks_blocked()
        yield waiting
        tasks.cancel_scope.cancel()


async def full(budget: MemoryBudget, clock: Clock) -> Ticket:
    """Take all the room there is, and return the ticket that has it."""
    ticket = budget.enqueue(4)
    await budget.wait(ticket, deadline=None)
    clock.now += 1
    return ticket
