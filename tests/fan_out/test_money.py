"""Money of a run: budgets, reservations and dry runs."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesdk import (
    AsyncClient,
    BudgetExceededError,
    ConfigurationError,
    Edit,
    Generate,
    JobLike,
    Outcome,
    RateLimit,
)
from imagesdk.fan_out.dry_run import seconds_under
from imagesdk.fan_out.spending import Reservation, SpendingLimit, parse_budget
from tests.support.billing_server import BillingServer

pytestmark = pytest.mark.anyio
both_loops = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
CHEAP = Generate("", model="dall-e-2", size="256x256")  # $0.016
EACH = Decimal("0.016")
amounts = st.decimals(0, 5, places=3)


async def run_all(client: AsyncClient, jobs: list[JobLike], **options: Any) -> list[Outcome]:
    async with client, client.images.fan_out(jobs, defaults=CHEAP, **options) as run:
        return await run.collect()


async def test_a_budget_covers_some_jobs_and_the_others_are_not_sent(
    client: AsyncClient, server: BillingServer
) -> None:
    outcomes = await run_all(client, [f"image {n}" for n in range(6)], budget="0.05 USD")
    assert [outcome.status for outcome in outcomes] == ["done"] * 3 + ["failed"] * 3
    assert isinstance(outcomes[3].error, BudgetExceededError)
    assert "only $0.002 of the $0.05 budget is left" in str(outcomes[3].error)
    assert sum((outcome.cost or 0 for outcome in outcomes), Decimal(0)) == 3 * EACH
    assert len(server.asked) == 3


async def test_a_refused_job_uses_no_budget(client: AsyncClient, server: BillingServer) -> None:
    outcomes = await run_all(client, ["refuse 1", "refuse 2", "a", "b"], budget=2 * EACH)
    assert [outcome.status for outcome in outcomes] == ["refused", "refused", "done", "done"]


async def test_an_attempt_that_may_have_been_billed_uses_budget(
    client: AsyncClient, server: BillingServer
) -> None:
    outcomes = await run_all(client, ["break 1", "break 2", "a"], budget=2 * EACH)
    assert [outcome.status for outcome in outcomes] == ["unknown", "unknown", "failed"]
    assert "a" not in server.asked


async def test_each_repeated_attempt_needs_budget(client: AsyncClient, server: BillingServer) -> None:
    outcomes = await run_all(client, ["break 1"], budget=EACH, delivery="at_least_once")
    assert [outcome.status for outcome in outcomes] == ["unknown"]
    assert isinstance(outcomes[0].error, BudgetExceededError)
    assert len(server.asked) == 1


async def test_a_budget_is_for_all_runs_of_a_journal_and_a_higher_one_continues(
    client: AsyncClient, server: BillingServer, tmp_path: Path
) -> None:
    jobs: list[JobLike] = ["a", "break me", "b", "c"]
    for budget, asked in ((2 * EACH, 2), (2 * EACH, 2), (3 * EACH, 3), (4 * EACH, 4)):
        await run_all(client, jobs, out=tmp_path, budget=budget)
        assert len(server.asked) == asked


@both_loops
async def test_a_job_waits_for_the_money_that_jobs_in_flight_have_reserved(
    client: AsyncClient, server: BillingServer
) -> None:
    server.released.set()
    jobs: list[JobLike] = ["hold 1", "refuse 2", "hold 3", "refuse 4", "hold 5"]
    outcomes = await run_all(client, jobs, budget=3 * EACH)
    assert [outcome.status for outcome in outcomes] == ["done", "refused", "done", "refused", "done"]


async def test_a_job_with_an_unknown_price_is_sent_only_with_unknown_price_allow(
    client: AsyncClient, server: BillingServer
) -> None:
    unknown: list[JobLike] = [Generate("a", model="nobody-knows")]
    [stopped] = await run_all(client, unknown, budget="1 USD")
    assert isinstance(stopped.error, BudgetExceededError)
    assert "nobody-knows" in str(stopped.error)
    assert server.asked == []
    [sent] = await run_all(client, unknown, budget="1 USD", unknown_price="allow")
    assert sent.status == "done"
    assert sent.cost is None


@pytest.mark.parametrize(
    "options", [{"budget": "a lot"}, {"budget": -1}, {"budget": 1.5}, {"unknown_price": "maybe"}]
)
async def test_a_budget_must_be_a_number_of_dollars(client: AsyncClient, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        await run_all(client, ["a"], **options)


@pytest.mark.parametrize(
    ("spelled", "dollars"),
    [("20 USD", 20), ("$20", 20), ("0.50", "0.5"), ("usd 3", 3), (7, 7), (Decimal("0.1"), "0.1")],
)
def test_a_budget_can_be_written_in_many_ways(spelled: str | Decimal | int, dollars: str | int) -> None:
    assert parse_budget(spelled) == Decimal(dollars)


@given(amounts, st.lists(st.tuples(amounts, st.floats(0, 1), st.booleans())))
def test_a_run_never_spends_more_than_its_budget(
    limit: Decimal, jobs: list[tuple[Decimal, float, bool]]
) -> None:
    spending, open_, spent = SpendingLimit(limit), list[Decimal](), Decimal(0)
    for amount, share, settles in jobs:
        match spending.reserve(amount):
            case Reservation.RESERVED:
                open_.append(amount)
            case Reservation.WAIT:
                assert open_
            case Reservation.REFUSED:
                assert spent + amount > limit or not sum(open_)
        if settles and open_:
            reserved = open_.pop(0)
            paid = reserved * Decimal(share)
            spending.settle(reserved, paid)
            spent += paid
        assert spent + sum(open_) <= limit
        assert spending.left == limit - spent - sum(open_)


async def test_a_dry_run_counts_prices_and_times_without_sending_or_writing(
    server: BillingServer, make_client: Callable[..., AsyncClient], tmp_path: Path
) -> None:
    client = make_client(server.base_url, rate_limit=RateLimit(50))
    jobs: list[JobLike] = [*(f"image {n}" for n in range(120)), Generate("x", model="dall-e-3", n=2)]
    jobs.append(Edit(tmp_path / "none.png", "a pool"))
    async with client:
        found = await client.images.dry_run(jobs, out=tmp_path / "out", defaults=CHEAP)
    assert (found.jobs, found.sent, found.images, found.refused) == (122, 120, 120, 2)
    assert found.cost == found.at_most == 120 * EACH
    assert found.seconds == 120
    assert [place for place, _ in found.problems] == [120, 121]
    assert "dall-e-3" in str(found.problems[0][1])
    assert server.asked == []
    assert not (tmp_path / "out").exists()


async def test_a_dry_run_reads_the_journal_of_earlier_runs(
    client: AsyncClient, server: BillingServer, tmp_path: Path
) -> None:
    await run_all(client, ["a", "a", "break me"], out=tmp_path)
    before = (tmp_path / "journal.db").read_bytes()
    jobs: list[JobLike] = ["a", "b", "a", "a", "break me"]
    async with client:
        found = await client.images.dry_run(jobs, out=tmp_path, defaults=CHEAP)
        again = await client.images.dry_run(jobs, out=tmp_path, defaults=CHEAP, retry_unknown=True)
    assert (found.sent, found.resumed, found.cost) == (2, 3, 2 * EACH)
    assert (again.sent, again.resumed) == (3, 2)
    assert (tmp_path / "journal.db").read_bytes() == before


async def test_a_dry_run_has_no_cost_if_one_price_is_unknown(client: AsyncClient) -> None:
    async with client:
        found = await client.images.dry_run(["a", Generate("b", model="nobody-knows")], defaults=CHEAP)
    assert (found.cost, found.at_most, found.unpriced, found.seconds) == (None, None, 1, None)


@given(st.integers(1, 100), st.integers(0, 1000))
def test_the_last_image_waits_for_as_many_windows_as_are_filled_before_it(limit: int, images: int) -> None:
    seconds = seconds_under(RateLimit(limit, per=60), images)
    assert seconds is not None
    assert limit * seconds / 60 <= max(0, images - 1) < limit * (seconds / 60 + 1)
