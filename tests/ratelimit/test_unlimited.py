"""The concurrency limiter of clients without a rate limit."""

from __future__ import annotations

from unittest.mock import Mock

import anyio
import pytest

from imagesdk import LimitWaitError
from imagesdk._ratelimit.unlimited import CONCURRENCY, ConcurrencyLimiter
from tests.ratelimit.windows import names


@pytest.mark.anyio
async def test_without_a_rate_limit_64_calls_run_at_once_and_the_others_follow_in_order() -> None:
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
async def test_without_a_rate_limit_the_limits_of_the_server_do_not_apply() -> None:
    permits = ConcurrencyLimiter()
    on_wait, permit = Mock(), permits.enqueue(1000)

    await permits.wait(permit, deadline=None, on_wait=on_wait)
    permits.sent(permit)
    permits.accepted(permit, names(1, wait=30.0), 10**9)
    permits.rejected(permit, names(1, wait=30.0))
    await permits.wait(permit, deadline=0)
    permits.release(permit)
    await permits.wait(permits.enqueue(1000), deadline=None, on_wait=on_wait)

    on_wait.assert_not_called()
