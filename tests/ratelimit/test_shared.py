"""The shared limiter of one process, with a clock that the test moves.

Tests run on trio; those about event loops run on both.
"""

from __future__ import annotations

import asyncio
import functools
import os
import threading
import time
from contextlib import suppress
from itertools import pairwise
from unittest.mock import Mock

import anyio
import anyio.to_thread
import pytest

from imagesdk import LimitWaitError, RateLimit
from imagesdk._protocol.server_limits import ServerLimits
from imagesdk._ratelimit.queue import Permit
from imagesdk._ratelimit.shared import LimiterRegistry, SharedLimiter
from tests.ratelimit.waiting_calls import LONGER, WINDOW, Clock, TimedLimiter, line, send

pytestmark = pytest.mark.anyio
on_both_loops = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])


@on_both_loops
async def test_capacity_is_free_one_window_after_a_request_was_sent(limiter: TimedLimiter) -> None:
    first = await limiter.fill()
    limiter.sent(first)

    async with line(limiter, second=limiter.enqueue(1)) as waiting:
        assert await waiting.after(WINDOW) == []
        assert await waiting.after(LONGER - WINDOW) == ["second"]


@on_both_loops
async def test_a_released_permit_that_was_not_sent_frees_its_capacity_at_once(limiter: TimedLimiter) -> None:
    first = await limiter.fill()

    async with line(limiter, second=limiter.enqueue(4)) as waiting:
        assert waiting.granted == []
        limiter.release(first)
        await anyio.wait_all_tasks_blocked()
        assert waiting.granted == ["second"]


async def test_a_cancelled_call_blocks_no_other(limiter: TimedLimiter) -> None:
    half = limiter.enqueue(2)
    await limiter.wait(half, deadline=None)
    limiter.clock.now += 1
    big, tiny = limiter.enqueue(4), limiter.enqueue(1)

    async with line(limiter, big=big, tiny=tiny) as waiting:
        waiting.scopes["big"].cancel()
        await anyio.wait_all_tasks_blocked()
        limiter.release(big)
        await anyio.wait_all_tasks_blocked()
        assert waiting.granted == ["tiny"]


@on_both_loops
async def test_waiting_ends_by_itself_when_there_is_capacity() -> None:
    limiter = SharedLimiter(RateLimit(1, per=0.01))
    went: list[float] = []
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                permit = limiter.enqueue(1)

                async def go(permit: Permit = permit) -> None:
                    await limiter.wait(permit, deadline=None)
                    went.append(time.monotonic())
                    limiter.sent(permit)

                tasks.start_soon(go)
    assert len(went) == 5
    assert all(later - earlier >= 0.01 for earlier, later in pairwise(went))


@on_both_loops
async def test_waiting_ends_though_the_call_before_is_slow_to_send() -> None:
    limiter = SharedLimiter(RateLimit(2, per=0.05))
    for _ in range(2):
        await send(limiter)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(functools.partial(limiter.wait, limiter.enqueue(1), deadline=None))


async def test_a_deadline_out_of_reach_fails_at_once(limiter: TimedLimiter) -> None:
    limiter.sent(await limiter.fill())
    permit = limiter.enqueue(1)

    with pytest.raises(LimitWaitError, match="Pass a longer timeout=") as caught:
        await limiter.wait(permit, deadline=limiter.clock.now + WINDOW - 5)

    assert caught.value.retry_after is not None
    assert WINDOW - 5 < caught.value.retry_after < LONGER


async def test_a_request_larger_than_the_limit_fails_at_once(limiter: TimedLimiter) -> None:
    with pytest.raises(LimitWaitError, match="can never fit") as caught:
        limiter.enqueue(5)

    assert caught.value.retry_after is None


async def test_a_rejected_request_returns_to_its_place_and_all_calls_pause(limiter: TimedLimiter) -> None:
    first = await send(limiter, 2)
    limiter.clock.now += 1
    second = limiter.enqueue(4)

    limiter.rejected(first, ServerLimits(waits=(10.0,)))

    async with line(limiter, second=second, first=first) as waiting:
        assert await waiting.after(9) == []
        assert await waiting.after(2) == ["first"]
        limiter.sent(first)
        assert await waiting.after(LONGER) == ["first", "second"]


async def test_a_lowered_limit_ends_the_wait_of_calls_that_can_never_fit_it(limiter: TimedLimiter) -> None:
    first = await limiter.fill()
    names = [f"big{number}" for number in range(3)]

    async with line(limiter, **{name: limiter.enqueue(3) for name in names}) as waiting:
        limiter.restrict(RateLimit(2, per=WINDOW))
        await anyio.wait_all_tasks_blocked()
        assert sorted(waiting.granted) == [f"{name}: too late" for name in names]

    limiter.release(first)
    async with line(limiter, small=limiter.enqueue(2)) as waiting:
        assert waiting.granted == ["small"]


async def test_a_long_wait_is_reported_once_with_position_length_and_reason(limiter: TimedLimiter) -> None:
    limiter.sent(await limiter.fill())
    on_wait, first, second = Mock(), limiter.enqueue(1), limiter.enqueue(1)
    wait = functools.partial(limiter.wait, second, deadline=None, on_wait=on_wait)

    async with line(limiter, first=first) as waiting, anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        for _ in range(3):
            await waiting.after(5)
        tasks.cancel_scope.cancel()

    [((place, seconds, reason), _)] = on_wait.call_args_list
    assert (place, reason) == (1, "room in the rate limit of 4 images / 60 s")
    assert WINDOW - 5 < seconds < LONGER


async def test_the_report_of_a_wait_names_a_pause_as_its_reason(limiter: TimedLimiter) -> None:
    permit = await send(limiter)
    limiter.rejected(permit, ServerLimits(waits=(30.0,)))
    on_wait = Mock()
    wait = functools.partial(limiter.wait, permit, on_wait=on_wait)

    with pytest.raises(LimitWaitError):
        await wait(deadline=limiter.clock.now + 10)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(functools.partial(wait, deadline=None))
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()

    on_wait.assert_called_once()
    assert "the server refused more (429)" in on_wait.call_args.args[2]


@pytest.mark.parametrize("elsewhere", ["asyncio", "trio"])
@on_both_loops
async def test_calls_of_other_threads_and_loops_are_woken_in_their_turn(
    limiter: TimedLimiter, elsewhere: str
) -> None:
    first = await limiter.fill()
    second = limiter.enqueue(4)
    asked = threading.Event()

    async def wait() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(functools.partial(limiter.wait, second, deadline=None))
            await anyio.wait_all_tasks_blocked()
            asked.set()

    async with anyio.create_task_group() as tasks:
        run = functools.partial(anyio.run, wait, backend=elsewhere)
        tasks.start_soon(anyio.to_thread.run_sync, run)
        await anyio.to_thread.run_sync(asked.wait)
        assert not second.granted
        limiter.release(first)

    assert second.granted


@on_both_loops
async def test_a_call_whose_loop_has_ended_blocks_no_other(limiter: TimedLimiter) -> None:
    first = await limiter.fill()
    lost, second = limiter.enqueue(1), limiter.enqueue(1)

    async def give_up() -> None:
        with anyio.move_on_after(0.01):
            await limiter.wait(lost, deadline=None)
        limiter.release(lost)

    await anyio.to_thread.run_sync(anyio.run, give_up)

    async with line(limiter, second=second) as waiting:
        limiter.release(first)
        await anyio.wait_all_tasks_blocked()
        assert waiting.granted == ["second"]


@pytest.mark.parametrize("sent", [True, False])
async def test_a_forked_child_keeps_the_log_of_its_parent_and_forgets_the_queue(
    limiter: TimedLimiter, sent: bool
) -> None:
    first = await limiter.fill()
    if sent:
        limiter.sent(first)
    limiter.enqueue(4)

    limiter.after_fork()

    async with line(limiter, child=limiter.enqueue(4)) as waiting:
        assert await waiting.after(1) == []
        assert await waiting.after(LONGER) == ["child"]


def test_a_fork_reaches_the_limiters_of_a_single_client(clock: Clock) -> None:
    registry = LimiterRegistry(clock=clock)
    limiter = registry.get(("key",), RateLimit(1, per=WINDOW, scope="client"))

    async def granted() -> bool:
        permit = limiter.enqueue(1)
        await limiter.wait(permit, deadline=clock.now)
        return permit.granted

    assert anyio.run(granted)  # and never sent: the child cannot, either
    clock.now += LONGER
    child = os.fork()
    if not child:
        clock.now += LONGER
        os._exit(0 if anyio.run(granted) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_calls_of_a_closed_loop_hold_no_capacity() -> None:
    limiter = TimedLimiter(RateLimit(2, per=WINDOW))
    loop = asyncio.new_event_loop()
    first = limiter.enqueue(2)
    loop.run_until_complete(limiter.wait(first, deadline=None))
    limiter.sent(first)
    forsaken = [loop.create_task(limiter.wait(limiter.enqueue(1), deadline=None)) for _ in range(6)]
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert not any(task.done() for task in forsaken)
    limiter.clock.now += 2 * LONGER

    async def go() -> list[str]:
        async with line(limiter, one=limiter.enqueue(1), other=limiter.enqueue(1)) as waiting:
            await waiting.after(2 * LONGER)
            return await waiting.after(1)

    assert anyio.run(go) == ["one", "other"]
    for task in forsaken:
        with suppress(RuntimeError):  # there is no loop any more
            task.get_coro().close()  # pyright: ignore


@on_both_loops
async def test_a_small_call_that_arrives_in_the_gap_of_a_burst_overtakes_a_waiting_large_one() -> None:
    limiter = SharedLimiter(RateLimit(10, per=600.0))
    await send(limiter, 5)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(functools.partial(limiter.wait, limiter.enqueue(8), deadline=None))
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(10):
            for _ in range(2):
                await limiter.wait(limiter.enqueue(1), deadline=None)
        tasks.cancel_scope.cancel()


async def test_a_pause_ends_only_the_waits_whose_deadline_it_puts_out_of_reach(limiter: TimedLimiter) -> None:
    first = await limiter.fill()
    limiter.sent(first)
    limiter.clock.now += 1
    patient, hurried = limiter.enqueue(1), limiter.enqueue(1)
    async with line(limiter, patient=patient) as waiting:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(waiting.join, "hurried", hurried, limiter.clock.now + LONGER + 1)
            await anyio.wait_all_tasks_blocked()
            assert waiting.granted == []
            limiter.rejected(first, ServerLimits(waits=(2 * WINDOW,)))
            await anyio.wait_all_tasks_blocked()
            assert waiting.granted == ["hurried: too late"]
