"""Limits and tokens that the shared limiter learns from responses, and from clients that state other limits."""

from __future__ import annotations

import gc
import logging
from weakref import WeakSet

import anyio
import pytest

from imagesdk import RateLimit
from imagesdk._protocol.server_limits import NO_SERVER_LIMITS
from imagesdk._ratelimit.shared import LimiterRegistry
from imagesdk.policies import DEFAULT_RATE_LIMIT
from tests.ratelimit.waiting_calls import LONGER, WINDOW, Clock, TimedLimiter, line, send
from tests.ratelimit.windows import names

pytestmark = pytest.mark.anyio


async def test_a_higher_limit_of_the_server_grants_waiting_calls_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "imagesdk")
    limiter = TimedLimiter(RateLimit(4, per=WINDOW), adaptive=True)
    first = await send(limiter, 4)
    limiter.clock.now += 1

    async with line(limiter, second=limiter.enqueue(1)) as waiting:
        assert waiting.granted == []
        limiter.accepted(first, names(10), None)
        await anyio.wait_all_tasks_blocked()
        assert waiting.granted == ["second"]

    assert limiter.limit == RateLimit(10, per=WINDOW)
    assert [record.getMessage() for record in caplog.records] == [
        "the server allows 10 images / 60 s, not 4 images / 60 s: calls keep to that"
    ]


@pytest.mark.parametrize("rejected", [False, True])
async def test_a_lower_limit_of_the_server_fails_calls_that_can_never_fit_it(rejected: bool) -> None:
    limiter = TimedLimiter(RateLimit(4, per=WINDOW))
    first = await send(limiter, 1)
    limiter.clock.now += 1

    async with line(limiter, big=limiter.enqueue(4), small=limiter.enqueue(2)) as waiting:
        if rejected:
            limiter.rejected(first, names(2, WINDOW, wait=5.0))
            limiter.release(first)
        else:
            limiter.accepted(first, names(2), None)
        await anyio.wait_all_tasks_blocked()
        assert waiting.granted == ["big: too late"]
        assert await waiting.after(LONGER) == ["big: too late", "small"]


async def test_tokens_are_estimated_by_the_image_from_earlier_requests() -> None:
    limiter = TimedLimiter(RateLimit(100, per=WINDOW, tokens=1000))
    limiter.accepted(await send(limiter, 2), NO_SERVER_LIMITS, 600)
    limiter.clock.now += LONGER

    for _ in range(3):
        await send(limiter)
        limiter.clock.now += 1

    async with line(limiter, fourth=limiter.enqueue(1)) as waiting:
        assert await waiting.after(1) == []  # at 300 each, it takes more than there are left


async def test_a_request_that_took_fewer_tokens_than_estimated_grants_the_next_call_at_once() -> None:
    limiter = TimedLimiter(RateLimit(100, per=WINDOW, tokens=1000))
    limiter.accepted(await send(limiter), NO_SERVER_LIMITS, 600)
    limiter.clock.now += LONGER
    first = await send(limiter)
    limiter.clock.now += 1

    async with line(limiter, second=limiter.enqueue(1)) as waiting:
        assert waiting.granted == []
        limiter.accepted(first, NO_SERVER_LIMITS, 100)
        await anyio.wait_all_tasks_blocked()
        assert waiting.granted == ["second"]


def test_clients_of_one_account_share_a_window_and_the_lower_limit_applies(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    registry = LimiterRegistry(clock=clock)
    low, high = RateLimit(10, per=WINDOW), RateLimit(50, per=WINDOW)

    first = registry.get(("server", "key", "model"), high)
    for limit in (low, high, low, high):
        assert registry.get(("server", "key", "model"), limit) is first

    assert first.limit == low
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "the lower one holds" in caplog.text
    assert registry.get(("server", "key", "other model"), high) is not first


def test_a_client_without_a_limit_keeps_to_the_one_of_another_client(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for stated in (RateLimit(10), RateLimit(250, tokens=1000)):
        registry = LimiterRegistry(clock=clock)
        limiter = registry.get(("account",), DEFAULT_RATE_LIMIT)
        assert limiter.stated is None
        for limit in (stated, DEFAULT_RATE_LIMIT, stated):
            assert registry.get(("account",), limit) is limiter
            assert limiter.stated == stated
            assert limiter.limit == stated

    assert caplog.records == []


async def test_a_stated_limit_that_replaces_a_default_grants_waiting_calls(clock: Clock) -> None:
    registry = LimiterRegistry(clock=clock)
    limiter = registry.get(("account",), DEFAULT_RATE_LIMIT)
    await send(limiter, 50)
    clock.now += 1

    async with line(limiter, second=limiter.enqueue(1)) as waiting:
        assert waiting.granted == []
        registry.get(("account",), RateLimit(250))
        await anyio.wait_all_tasks_blocked()
        assert waiting.granted == ["second"]


async def test_a_window_and_its_limit_outlive_their_clients_by_two_windows(clock: Clock) -> None:
    registry = LimiterRegistry(clock=clock)
    limit = RateLimit(4, per=WINDOW)
    limiter = registry.get(("account",), limit)
    await send(limiter, 4)

    clock.now += WINDOW
    registry.get(("other",), limit)
    later = RateLimit(100, per=WINDOW)
    assert registry.get(("account",), later) is limiter
    assert limiter.limit == limit

    clock.now += 3 * WINDOW
    registry.get(("other",), limit)
    assert registry.get(("account",), later) is not limiter
    assert registry.get(("account",), later).limit == later


async def test_a_call_looks_at_few_other_limiters_and_all_idle_ones_are_dropped_in_time(clock: Clock) -> None:
    registry, limit = LimiterRegistry(clock=clock), RateLimit(4, per=WINDOW)
    limiters = WeakSet(registry.get((str(number),), limit) for number in range(1000))
    clock.now += 100 * WINDOW

    registry.get(("999",), limit)
    gc.collect()
    assert 990 <= len(limiters) < 1000

    for _ in range(999):
        registry.get(("999",), limit)
        clock.now += WINDOW / 1000
    gc.collect()
    assert len(limiters) == 1


async def test_a_window_with_granted_calls_is_never_dropped(clock: Clock) -> None:
    registry = LimiterRegistry(clock=clock)
    limit = RateLimit(4, per=WINDOW)
    limiter = registry.get(("account",), limit)
    permit = limiter.enqueue(4)
    await limiter.wait(permit, deadline=None)

    clock.now += 100 * WINDOW
    registry.get(("other",), limit)

    assert registry.get(("account",), limit) is limiter
