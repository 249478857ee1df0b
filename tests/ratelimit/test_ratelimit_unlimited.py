"""Without a rate limit: how many calls are under way at once, and in which order the others follow."""

from __future__ import annotations

import anyio
import pytest

from imagesdk import LimitWaitError
from imagesdk._ratelimit.unlimited import CONCURRENCY, ConcurrencyLimiter
from tests.support.rate_windows import names


@pytest.mark.anyio
async def test_without_a_limit_only_so_many_calls_are_under_way_at_once() -> None:
    permits = ConcurrencyLimiter()
    held = [permits.enqueue(10) for _ in range(CONCURRENCY)]
    for permit in held:
        await permits.wait(permit, deadline=None)
    went: list[int] = []

    async def join(number: int) -> None:
        await permits.wait(permits.enqueue(1), deadline=None)
        went.append(number)

    with pytest.raises(LimitWaitError, match="under way for the whole time-out"):
        await permits.wait(permits.enqueue(1), deadline=0)
    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(join, number)
            await anyio.wait_all_tasks_blocked()
        for done in range(3):
            assert went == list(range(done))
            permits.release(held[done])
            permits.release(held[done])
            await anyio.wait_all_tasks_blocked()
    assert went == [0, 1, 2]


@pytest.mark.anyio
async def test_without_a_limit_nothing_that_a_server_says_of_limits_matters() -> None:
    permits = ConcurrencyLimiter()
    told: list[str] = []
    permit = permits.enqueue(1000)

    def on_wait(place: int, seconds: float, reason: str) -> None:
        told.append(reason)

    await permits.wait(permit, deadline=None, on_wait=on_wait)
    permits.sent(permit)
    permits.accepted(permit, names(1, wait=30.0), 10**9)
    permits.rejected(permit, names(1, wait=30.0))
    await permits.wait(permit, deadline=0)
    permits.release(permit)
    await permits.wait(permits.enqueue(1000), deadline=None, on_wait=on_wait)

    assert told == []
