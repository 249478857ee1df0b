"""What the rate limit of a process learns from answers, and from clients that name other limits."""

from __future__ import annotations

import logging

import anyio
import pytest

from imagesdk import RateLimit
from imagesdk._protocol.limits import NOTHING_SAID
from imagesdk._protocol.line import Ticket
from imagesdk.budgets.memory import MemoryBudget, Registry
from imagesdk.policies import DEFAULT_RATE_LIMIT
from tests.support.rate_windows import names
from tests.support.waiting_calls import LONGER, WINDOW, Clock, line


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def sent(budget: MemoryBudget, weight: int = 1) -> Ticket:
    """A request that is under way."""
    ticket = budget.enqueue(weight)
    await budget.wait(ticket, deadline=None)
    budget.sent(ticket)
    return ticket


@pytest.mark.anyio
async def test_a_higher_limit_that_a_server_names_lets_those_who_wait_go_at_once(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "imagesdk")
    budget = MemoryBudget(RateLimit(4, per=WINDOW), adaptive=True, clock=clock)
    first = await sent(budget, 4)
    clock.now += 1

    async with line(budget, clock, second=budget.enqueue(1)) as waiting:
        assert waiting.went == []
        budget.proven(first, names(10), None)
        await anyio.wait_all_tasks_blocked()
        assert waiting.went == ["second"]

    assert budget.limit == RateLimit(10, per=WINDOW)
    assert [record.getMessage() for record in caplog.records] == [
        "the server allows 10 images / 60 s, not 4 images / 60 s: calls keep to that"
    ]


@pytest.mark.anyio
@pytest.mark.parametrize("refused", [False, True])
async def test_a_lower_limit_that_a_server_names_turns_away_those_who_can_never_fit_it(
    clock: Clock, refused: bool
) -> None:
    budget = MemoryBudget(RateLimit(4, per=WINDOW), clock=clock)
    first = await sent(budget, 1)
    clock.now += 1

    async with line(budget, clock, big=budget.enqueue(4), small=budget.enqueue(2)) as waiting:
        if refused:
            budget.throttled(first, names(2, WINDOW, wait=5.0))
            budget.release(first)
        else:
            budget.proven(first, names(2), None)
        await anyio.wait_all_tasks_blocked()
        assert waiting.went == ["big: too late"]
        assert await waiting.after(LONGER) == ["big: too late", "small"]


@pytest.mark.anyio
async def test_tokens_are_estimated_from_requests_before_by_the_image(clock: Clock) -> None:
    budget = MemoryBudget(RateLimit(100, per=WINDOW, tokens=1000), clock=clock)
    budget.proven(await sent(budget, 2), NOTHING_SAID, 600)
    clock.now += LONGER

    for _ in range(3):
        await sent(budget)
        clock.now += 1

    async with line(budget, clock, fourth=budget.enqueue(1)) as waiting:
        assert await waiting.after(1) == []  # at 300 each, it takes more than there are left


@pytest.mark.anyio
async def test_a_request_that_took_fewer_tokens_than_was_thought_lets_the_next_one_go_at_once(
    clock: Clock,
) -> None:
    budget = MemoryBudget(RateLimit(100, per=WINDOW, tokens=1000), clock=clock)
    budget.proven(await sent(budget), NOTHING_SAID, 600)
    clock.now += LONGER
    first = await sent(budget)
    clock.now += 1

    async with line(budget, clock, second=budget.enqueue(1)) as waiting:
        assert waiting.went == []
        budget.proven(first, NOTHING_SAID, 100)
        await anyio.wait_all_tasks_blocked()
        assert waiting.went == ["second"]


def test_clients_of_one_account_share_a_window_and_the_lower_limit_holds(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    registry = Registry(clock=clock)
    low, high = RateLimit(10, per=WINDOW), RateLimit(50, per=WINDOW)

    first = registry.get(("server", "key", "model"), high)
    for limit in (low, high, low, high):
        assert registry.get(("server", "key", "model"), limit) is first

    assert first.limit == low
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "the lower one holds" in caplog.text
    assert registry.get(("server", "key", "other model"), high) is not first


def test_a_client_that_names_no_limit_keeps_to_the_one_that_another_names(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for stated in (RateLimit(10), RateLimit(250, tokens=1000)):
        registry = Registry(clock=clock)
        budget = registry.get(("account",), DEFAULT_RATE_LIMIT)
        assert budget.stated is None
        for limit in (stated, DEFAULT_RATE_LIMIT, stated):
            assert registry.get(("account",), limit) is budget
            assert budget.stated == stated
            assert budget.limit == stated

    assert caplog.records == []


@pytest.mark.anyio
async def test_a_limit_that_is_named_where_there_was_a_default_lets_those_who_wait_go(clock: Clock) -> None:
    registry = Registry(clock=clock)
    budget = registry.get(("account",), DEFAULT_RATE_LIMIT)
    await sent(budget, 50)
    clock.now += 1

    async with line(budget, clock, second=budget.enqueue(1)) as waiting:
        assert waiting.went == []
        registry.get(("account",), RateLimit(250))
        await anyio.wait_all_tasks_blocked()
        assert waiting.went == ["second"]


@pytest.mark.anyio
async def test_a_window_outlives_its_clients_for_as_long_as_the_server_remembers(clock: Clock) -> None:
    registry = Registry(clock=clock)
    limit = RateLimit(4, per=WINDOW)
    budget = registry.get(("account",), limit)
    ticket = budget.enqueue(4)
    await budget.wait(ticket, deadline=None)
    budget.sent(ticket)

    clock.now += WINDOW
    registry.get(("other",), limit)
    assert registry.get(("account",), limit) is budget

    clock.now += 3 * WINDOW
    registry.get(("other",), limit)
    assert registry.get(("account",), limit) is not budget


@pytest.mark.anyio
async def test_a_window_with_calls_in_line_is_never_forgotten(clock: Clock) -> None:
    registry = Registry(clock=clock)
    limit = RateLimit(4, per=WINDOW)
    budget = registry.get(("account",), limit)
    ticket = budget.enqueue(4)
    await budget.wait(ticket, deadline=None)

    clock.now += 100 * WINDOW
    registry.get(("other",), limit)

    assert registry.get(("account",), limit) is budget
