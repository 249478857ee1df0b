"""One suite for the limiter of one process, and for processes that share a limit in SQLite or Redis.

A *member* is a process; without a store all members are the same one.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from imagesdk import LimitWaitError, RateLimit
from imagesdk._protocol.server_limits import ServerLimit, ServerLimits
from tests.support.fleets import Fleet

pytestmark = pytest.mark.anyio

MINUTE = RateLimit(4, per=60.0)
LONGER = 60.0 * 1.01
FleetOf = Callable[[RateLimit], Fleet]


async def test_capacity_is_free_for_all_one_window_after_a_request_was_sent(fleet_of: FleetOf) -> None:
    async with fleet_of(MINUTE).running() as fleet:
        one, other = fleet.member(), fleet.member()
        await fleet.call("first", one, 4)
        assert await fleet.after(1) == ["first"]
        await fleet.call("second", other)
        assert await fleet.after(59) == ["first"]
        assert await fleet.after(2) == ["first", "second"]


async def test_calls_of_all_processes_are_granted_in_the_order_of_their_arrival(fleet_of: FleetOf) -> None:
    async with fleet_of(MINUTE).running() as fleet:
        one, other = fleet.member(), fleet.member()
        await fleet.call("full", one, 4)
        await fleet.after(1)
        for number in range(6):
            await fleet.call(str(number), (one, other)[number % 2])
            await fleet.after(1)
        assert await fleet.after(LONGER) == ["full", "0", "1", "2", "3"]
        assert await fleet.after(LONGER) == ["full", "0", "1", "2", "3", "4", "5"]


async def test_a_small_call_passes_a_large_one_only_if_it_delays_it_not(fleet_of: FleetOf) -> None:
    async with fleet_of(MINUTE).running() as fleet:
        one, other = fleet.member(), fleet.member()
        await fleet.call("first", one, 2)
        await fleet.after(20)
        await fleet.call("large", other, 4)
        await fleet.after(1)
        await fleet.call("small", one, 1)
        await fleet.after(LONGER - 21)
        assert fleet.granted == ["first", "large"]
        assert await fleet.after(LONGER + 1) == ["first", "large", "small"]


async def test_a_permit_that_was_not_used_is_free_for_the_others_at_once(fleet_of: FleetOf) -> None:
    async with fleet_of(MINUTE).running() as fleet:
        one, other = fleet.member(), fleet.member()
        await fleet.call("first", one, 4, sent=False)
        await fleet.after(1)
        await fleet.call("second", other, 4)
        assert await fleet.after(100) == ["first"]
        one.limiter.release(fleet.permits["first"])
        assert await fleet.after(1) == ["first", "second"]


async def test_a_cancelled_call_blocks_no_other(fleet_of: FleetOf) -> None:
    async with fleet_of(MINUTE).running() as fleet:
        one, other = fleet.member(), fleet.member()
        await fleet.call("half", one, 2)
        await fleet.after(1)
        large = one.limiter.enqueue(4)
        await fleet.after(1)
        await fleet.call("tiny", other)
        assert await fleet.after(1) == ["half"]
        one.limiter.release(large)
        assert await fleet.after(1) == ["half", "tiny"]


async def test_a_429_of_one_process_pauses_all_and_the_call_keeps_its_place(fleet_of: FleetOf) -> None:
    async with fleet_of(MINUTE).running() as fleet:
        one, other = fleet.member(), fleet.member()
        await fleet.call("first", one)
        await fleet.after(1)
        one.limiter.rejected(fleet.permits["first"], ServerLimits(waits=(10.0,)))
        await fleet.again("first", one)
        await fleet.after(0.1)
        await fleet.call("second", other)
        assert await fleet.after(9) == ["first"]
        assert await fleet.after(3) == ["first", "first"]
        assert await fleet.after(30) == ["first", "first", "second"]


async def test_a_limit_that_the_server_states_holds_for_all(fleet_of: FleetOf) -> None:
    async with fleet_of(RateLimit(50, per=60.0)).running() as fleet:
        one, other = fleet.member(), fleet.member()
        await fleet.call("first", one)
        await fleet.after(1)
        stated = ServerLimits(waits=(5.0,), limits={"images": ServerLimit(2, 60.0)}, explicit=True)
        one.limiter.rejected(fleet.permits["first"], stated)
        await fleet.again("first", one)
        for number in range(4):
            await fleet.call(str(number), other)
        await fleet.after(50)
        assert other.limiter.limit.images == 2
        assert fleet.granted == ["first", "first", "0"]


async def test_an_answer_that_does_not_count_frees_its_capacity(fleet_of: FleetOf) -> None:
    async with fleet_of(MINUTE).running() as fleet:
        one, other = fleet.member(), fleet.member()
        await fleet.call("first", one, 4)
        await fleet.after(1)
        await fleet.call("second", other, 4)
        assert await fleet.after(1) == ["first"]
        one.limiter.answered(fleet.permits["first"], ServerLimits(), uncounted=True)
        assert await fleet.after(1) == ["first", "second"]


async def test_requests_and_tokens_are_limited_for_all(fleet_of: FleetOf) -> None:
    async with fleet_of(RateLimit(10, per=60.0, requests=3, tokens=1000)).running() as fleet:
        one, other = fleet.member(), fleet.member()
        await fleet.call("first", one)
        await fleet.after(1)
        fleet.accept("first", one, tokens=400)
        await fleet.after(1)
        for number in range(3):
            await fleet.call(str(number), other)
        assert await fleet.after(5) == ["first", "0"]
        fleet.accept("0", other, tokens=10)
        assert await fleet.after(5) == ["first", "0", "1"]
        fleet.accept("1", other, tokens=10)
        assert await fleet.after(5) == ["first", "0", "1"]


async def test_a_deadline_out_of_reach_fails_soon(fleet_of: FleetOf) -> None:
    async with fleet_of(MINUTE).running() as fleet:
        one, other = fleet.member(), fleet.member()
        await fleet.call("first", one, 4)
        await fleet.after(1)
        await fleet.call("late", other, deadline=fleet.clock.now + 30)
        await fleet.call("in time", other, deadline=fleet.clock.now + 90)
        assert await fleet.after(1) == ["first", "late: LimitWaitError"]
        assert await fleet.after(LONGER) == ["first", "late: LimitWaitError", "in time"]


async def test_a_request_larger_than_the_limit_fails_at_once(fleet_of: FleetOf) -> None:
    async with fleet_of(MINUTE).running() as fleet:
        with pytest.raises(LimitWaitError, match="can never fit"):
            fleet.member().limiter.enqueue(5)


async def test_a_call_waits_no_longer_than_its_patience_while_there_is_nothing_but_429(
    fleet_of: FleetOf,
) -> None:
    async with fleet_of(MINUTE).running() as fleet:
        one, other = fleet.member(), fleet.member()
        await fleet.call("first", one)
        await fleet.after(1)
        one.limiter.rejected(fleet.permits["first"], ServerLimits(waits=(100.0,)))
        await fleet.after(1)
        await fleet.call("second", other)
        fleet.permits["second"].patience = 50.0
        assert await fleet.after(40) == ["first"]
        assert await fleet.after(20) == ["first", "second: LimitWaitError"]
