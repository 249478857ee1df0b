"""Who may go when: the rate limit of one process, with a clock of the test's own."""

from __future__ import annotations

import asyncio
import functools
import os
import threading
import time
from contextlib import suppress
from itertools import pairwise

import anyio
import anyio.to_thread
import pytest

from imagesdk import LimitWaitError, RateLimit
from imagesdk._protocol.limits import NOTHING_SAID, SaidLimits
from imagesdk._protocol.line import Ticket
from imagesdk.budgets.memory import MemoryBudget, Registry
from tests.support.waiting_calls import LONGER, WINDOW, Clock, Line, full, line


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def budget(clock: Clock) -> MemoryBudget:
    """Four images in a minute."""
    return MemoryBudget(RateLimit(4, per=WINDOW), clock=clock)


@pytest.mark.anyio
async def test_room_comes_back_one_window_after_a_request_was_sent(
    budget: MemoryBudget, clock: Clock
) -> None:
    first = await full(budget, clock)
    budget.sent(first)

    async with line(budget, clock, second=budget.enqueue(1)) as waiting:
        assert await waiting.after(WINDOW) == []
        assert await waiting.after(LONGER - WINDOW) == ["second"]


@pytest.mark.anyio
async def test_a_request_that_is_slow_to_be_sent_keeps_its_room(budget: MemoryBudget, clock: Clock) -> None:
    first = await full(budget, clock)

    async with line(budget, clock, second=budget.enqueue(1)) as waiting:
        assert await waiting.after(10 * WINDOW) == []
        budget.sent(first)
        budget.sent(first)
        assert await waiting.after(LONGER) == ["second"]


@pytest.mark.anyio
async def test_what_was_never_sent_is_given_back_at_once(budget: MemoryBudget, clock: Clock) -> None:
    first = await full(budget, clock)

    async with line(budget, clock, second=budget.enqueue(4)) as waiting:
        assert waiting.went == []
        budget.release(first)
        await anyio.wait_all_tasks_blocked()
        assert waiting.went == ["second"]


@pytest.mark.anyio
async def test_what_was_sent_ages_out_though_its_call_has_ended(budget: MemoryBudget, clock: Clock) -> None:
    first = await full(budget, clock)
    budget.sent(first)
    budget.release(first)

    async with line(budget, clock, second=budget.enqueue(1)) as waiting:
        assert await waiting.after(1) == []
        assert await waiting.after(LONGER) == ["second"]


@pytest.mark.anyio
async def test_first_come_first_served_whatever_the_size(budget: MemoryBudget, clock: Clock) -> None:
    small = budget.enqueue(2)
    await budget.wait(small, deadline=None)
    budget.sent(small)
    clock.now += 1

    async with line(budget, clock, big=budget.enqueue(4), tiny=budget.enqueue(1)) as waiting:
        assert await waiting.after(1) == []
        assert await waiting.after(LONGER) == ["big"]


@pytest.mark.anyio
async def test_a_small_one_goes_before_a_big_one_that_it_does_not_delay(
    budget: MemoryBudget, clock: Clock
) -> None:
    first = budget.enqueue(2)
    await budget.wait(first, deadline=None)
    budget.sent(first)
    clock.now += 1

    async with line(budget, clock, big=budget.enqueue(3), tiny=budget.enqueue(1)) as waiting:
        assert waiting.went == ["tiny"]
        assert await waiting.after(LONGER) == ["tiny", "big"]


@pytest.mark.anyio
async def test_who_leaves_the_line_holds_nobody_up(budget: MemoryBudget, clock: Clock) -> None:
    half = budget.enqueue(2)
    await budget.wait(half, deadline=None)
    clock.now += 1
    big, tiny = budget.enqueue(4), budget.enqueue(1)

    async with line(budget, clock, big=big, tiny=tiny) as waiting:
        waiting.scopes["big"].cancel()
        await anyio.wait_all_tasks_blocked()
        budget.release(big)
        await anyio.wait_all_tasks_blocked()
        assert waiting.went == ["tiny"]


@pytest.mark.anyio
async def test_waiting_ends_by_itself_when_there_is_room() -> None:
    budget = MemoryBudget(RateLimit(1, per=0.01))
    went: list[float] = []
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                ticket = budget.enqueue(1)

                async def go(ticket: Ticket = ticket) -> None:
                    await budget.wait(ticket, deadline=None)
                    went.append(time.monotonic())
                    budget.sent(ticket)

                tasks.start_soon(go)
    assert len(went) == 5
    assert all(later - earlier >= 0.01 for earlier, later in pairwise(went))


@pytest.mark.anyio
async def test_waiting_ends_though_the_call_before_is_slow_to_send() -> None:
    budget = MemoryBudget(RateLimit(2, per=0.05))
    for _ in range(2):
        ticket = budget.enqueue(1)
        await budget.wait(ticket, deadline=None)
        budget.sent(ticket)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(functools.partial(budget.wait, budget.enqueue(1), deadline=None))


@pytest.mark.anyio
async def test_a_deadline_that_cannot_be_met_is_said_at_once(budget: MemoryBudget, clock: Clock) -> None:
    budget.sent(await full(budget, clock))
    ticket = budget.enqueue(1)

    with pytest.raises(LimitWaitError, match="Pass a longer timeout=") as caught:
        await budget.wait(ticket, deadline=clock.now + WINDOW - 5)

    assert caught.value.retry_after is not None
    assert WINDOW - 5 < caught.value.retry_after < LONGER


@pytest.mark.anyio
async def test_a_deadline_that_can_be_met_is_waited_for_until_something_changes(
    budget: MemoryBudget, clock: Clock
) -> None:
    first = await full(budget, clock)
    budget.sent(first)
    ticket = budget.enqueue(1)

    waiting = Line(budget, clock)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(waiting.join, "second", ticket, clock.now + 2 * WINDOW)
        await anyio.wait_all_tasks_blocked()
        assert waiting.went == []
        budget.throttled(first, SaidLimits(waits=(2 * WINDOW,)))
        await anyio.wait_all_tasks_blocked()
        assert waiting.went == ["second: too late"]


@pytest.mark.anyio
async def test_a_request_larger_than_the_limit_fails_at_once(budget: MemoryBudget) -> None:
    with pytest.raises(LimitWaitError, match="can never fit") as caught:
        budget.enqueue(5)

    assert caught.value.retry_after is None


@pytest.mark.anyio
async def test_a_refused_request_goes_back_to_its_place_and_everybody_pauses(
    budget: MemoryBudget, clock: Clock
) -> None:
    first = budget.enqueue(2)
    await budget.wait(first, deadline=None)
    budget.sent(first)
    clock.now += 1
    second = budget.enqueue(4)

    budget.throttled(first, SaidLimits(waits=(10.0,)))

    async with line(budget, clock, second=second, first=first) as waiting:
        assert await waiting.after(9) == []
        assert await waiting.after(2) == ["first"]
        budget.sent(first)
        assert await waiting.after(LONGER) == ["first", "second"]


@pytest.mark.anyio
async def test_pauses_begin_small_again_once_a_request_was_taken(budget: MemoryBudget, clock: Clock) -> None:
    ticket = budget.enqueue(1)

    async def refused() -> None:
        await budget.wait(ticket, deadline=None)
        budget.sent(ticket)
        budget.throttled(ticket, NOTHING_SAID)

    for _ in range(4):
        await refused()
        async with line(budget, clock, it=ticket) as waiting:
            assert await waiting.after(WINDOW) == ["it"]
    budget.sent(ticket)
    budget.proven(ticket, NOTHING_SAID, None)
    await refused()

    async with line(budget, clock, it=ticket) as waiting:
        assert await waiting.after(WINDOW / 60 + 0.01) == ["it"]


@pytest.mark.anyio
async def test_a_limit_that_was_lowered_lets_nobody_wait_for_ever(budget: MemoryBudget, clock: Clock) -> None:
    first = await full(budget, clock)
    names = [f"big{number}" for number in range(3)]

    async with line(budget, clock, **{name: budget.enqueue(3) for name in names}) as waiting:
        budget.restrict(RateLimit(2, per=WINDOW))
        await anyio.wait_all_tasks_blocked()
        assert sorted(waiting.went) == [f"{name}: too late" for name in names]

    budget.release(first)
    async with line(budget, clock, small=budget.enqueue(2)) as waiting:
        assert waiting.went == ["small"]


@pytest.mark.anyio
async def test_a_long_wait_is_told_once_with_its_place_its_length_and_its_reason(
    budget: MemoryBudget, clock: Clock
) -> None:
    budget.sent(await full(budget, clock))
    told: list[tuple[int, float, str]] = []
    first, second = budget.enqueue(1), budget.enqueue(1)

    def on_wait(place: int, seconds: float, reason: str) -> None:
        told.append((place, seconds, reason))

    async with line(budget, clock, first=first) as waiting, anyio.create_task_group() as tasks:
        tasks.start_soon(functools.partial(budget.wait, second, deadline=None, on_wait=on_wait))
        for _ in range(3):
            await waiting.after(5)
        tasks.cancel_scope.cancel()

    [(place, seconds, reason)] = told
    assert (place, reason) == (1, "room in the rate limit of 4 images / 60 s")
    assert WINDOW - 5 < seconds < LONGER


@pytest.mark.anyio
async def test_a_wait_for_the_end_of_a_pause_says_so(budget: MemoryBudget, clock: Clock) -> None:
    ticket = budget.enqueue(1)
    await budget.wait(ticket, deadline=None)
    budget.sent(ticket)
    budget.throttled(ticket, SaidLimits(waits=(30.0,)))
    told: list[str] = []

    def on_wait(place: int, seconds: float, reason: str) -> None:
        told.append(reason)

    with pytest.raises(LimitWaitError):
        await budget.wait(ticket, deadline=clock.now + 10, on_wait=on_wait)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(functools.partial(budget.wait, ticket, deadline=None, on_wait=on_wait))
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()

    [reason] = told
    assert "the server refused more (429)" in reason


@pytest.mark.parametrize("elsewhere", ["asyncio", "trio"])
@pytest.mark.anyio
async def test_calls_of_other_threads_and_loops_are_woken_in_their_turn(
    budget: MemoryBudget, clock: Clock, elsewhere: str
) -> None:
    first = await full(budget, clock)
    second = budget.enqueue(4)
    asked = threading.Event()

    async def wait() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(functools.partial(budget.wait, second, deadline=None))
            await anyio.wait_all_tasks_blocked()
            asked.set()

    async with anyio.create_task_group() as tasks:
        run = functools.partial(anyio.run, wait, backend=elsewhere)
        tasks.start_soon(anyio.to_thread.run_sync, run)
        await anyio.to_thread.run_sync(asked.wait)
        assert not second.granted
        budget.release(first)

    assert second.granted


@pytest.mark.anyio
async def test_a_loop_that_ended_while_its_call_waited_holds_nobody_up(
    budget: MemoryBudget, clock: Clock
) -> None:
    first = await full(budget, clock)
    lost, second = budget.enqueue(1), budget.enqueue(1)

    async def give_up() -> None:
        with anyio.move_on_after(0.01):
            await budget.wait(lost, deadline=None)
        budget.release(lost)

    await anyio.to_thread.run_sync(anyio.run, give_up)

    async with line(budget, clock, second=second) as waiting:
        budget.release(first)
        await anyio.wait_all_tasks_blocked()
        assert waiting.went == ["second"]


@pytest.mark.anyio
@pytest.mark.parametrize("sent", [True, False])
async def test_a_forked_child_counts_what_its_parent_has_sent_or_is_about_to_and_forgets_the_line(
    budget: MemoryBudget, clock: Clock, sent: bool
) -> None:
    first = await full(budget, clock)
    if sent:
        budget.sent(first)
    budget.enqueue(4)

    budget.after_fork()

    async with line(budget, clock, child=budget.enqueue(4)) as waiting:
        assert await waiting.after(1) == []
        assert await waiting.after(LONGER) == ["child"]


def test_a_fork_tells_the_budgets_of_one_client_alone_too(clock: Clock) -> None:
    registry = Registry(clock=clock)
    budget = registry.get(("key",), RateLimit(1, per=WINDOW, scope="client"))

    async def granted() -> bool:
        ticket = budget.enqueue(1)
        await budget.wait(ticket, deadline=clock.now)
        return ticket.granted

    assert anyio.run(granted)  # and never sent: the child cannot, either
    clock.now += LONGER
    child = os.fork()
    if not child:
        clock.now += LONGER
        os._exit(0 if anyio.run(granted) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_calls_of_a_loop_that_was_closed_under_them_hold_nothing(clock: Clock) -> None:
    budget = MemoryBudget(RateLimit(2, per=WINDOW), clock=clock)
    loop = asyncio.new_event_loop()
    first = budget.enqueue(2)
    loop.run_until_complete(budget.wait(first, deadline=None))
    budget.sent(first)
    forsaken = [loop.create_task(budget.wait(budget.enqueue(1), deadline=None)) for _ in range(6)]
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert not any(task.done() for task in forsaken)
    clock.now += 2 * LONGER

    async def go() -> list[str]:
        async with line(budget, clock, one=budget.enqueue(1), other=budget.enqueue(1)) as waiting:
            await waiting.after(2 * LONGER)
            return await waiting.after(1)

    assert anyio.run(go) == ["one", "other"]
    for task in forsaken:
        with suppress(RuntimeError):  # there is no loop any more
            task.get_coro().close()  # pyright: ignore


@pytest.mark.anyio
async def test_one_that_comes_in_the_gap_of_a_burst_goes_after_it_though_the_head_waits_long() -> None:
    budget = MemoryBudget(RateLimit(10, per=600.0))
    first = budget.enqueue(5)
    await budget.wait(first, deadline=None)
    budget.sent(first)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(functools.partial(budget.wait, budget.enqueue(8), deadline=None))
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(10):
            for _ in range(2):
                await budget.wait(budget.enqueue(1), deadline=None)
        tasks.cancel_scope.cancel()


@pytest.mark.anyio
async def test_a_pause_tells_those_at_once_whose_time_will_not_do(budget: MemoryBudget, clock: Clock) -> None:
    first = await full(budget, clock)
    budget.sent(first)
    clock.now += 1
    patient, hurried = budget.enqueue(1), budget.enqueue(1)
    async with line(budget, clock, patient=patient) as waiting:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(waiting.join, "hurried", hurried, clock.now + LONGER + 1)
            await anyio.wait_all_tasks_blocked()
            assert waiting.went == []
            budget.throttled(first, SaidLimits(waits=(2 * WINDOW,)))
            await anyio.wait_all_tasks_blocked()
            assert waiting.went == ["hurried: too late"]


@pytest.mark.anyio
async def test_a_limit_that_was_named_long_ago_is_forgotten(clock: Clock) -> None:
    registry = Registry(clock=clock)
    budget = registry.get(("key",), RateLimit(5, per=WINDOW))
    ticket = budget.enqueue(1)
    await budget.wait(ticket, deadline=None)
    budget.sent(ticket)
    assert registry.get(("key",), RateLimit(100, per=WINDOW)).limit == RateLimit(5, per=WINDOW)
    clock.now += 3 * WINDOW
    assert registry.get(("key",), RateLimit(100, per=WINDOW)).limit == RateLimit(100, per=WINDOW)
