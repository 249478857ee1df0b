"""Money of a run: budgets, reservations and dry runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesdk import AsyncClient, BudgetExceededError, Edit, Generate, JobLike, RateLimit
from imagesdk.fan_out.dry_run import seconds_under
from imagesdk.fan_out.spending import Reservation, SpendingLimit, parse_budget
from tests.support.runs import Runs, statuses

pytestmark = pytest.mark.anyio
both_loops = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
CHEAP = Generate("", model="dall-e-2", size="256x256")  # $0.016
EACH = Decimal("0.016")
amounts = st.decimals(0, 5, places=3)


@pytest.fixture
def runs(runs: Runs) -> Runs:
    """Runs of cheap jobs."""
    runs.options = {"defaults": CHEAP}
    return runs


async def test_a_budget_covers_some_jobs_and_the_others_are_not_sent(runs: Runs) -> None:
    outcomes = await runs.all([f"image {n}" for n in range(6)], budget="0.05 USD")
    assert statuses(outcomes) == ["done"] * 3 + ["failed"] * 3
    assert isinstance(outcomes[3].error, BudgetExceededError)
    assert "only $0.002 of the $0.05 budget is left" in str(outcomes[3].error)
    assert sum((outcome.cost or 0 for outcome in outcomes), Decimal(0)) == 3 * EACH
    assert len(runs.server.asked) == 3


async def test_a_refused_job_uses_no_budget(runs: Runs) -> None:
    outcomes = await runs.all(["refuse 1", "refuse 2", "a", "b"], budget=2 * EACH)
    assert statuses(outcomes) == ["refused", "refused", "done", "done"]


async def test_an_attempt_that_may_have_been_billed_uses_budget(runs: Runs) -> None:
    outcomes = await runs.all(["break 1", "break 2", "a"], budget=2 * EACH)
    assert statuses(outcomes) == ["unknown", "unknown", "failed"]
    assert "a" not in runs.server.asked


async def test_each_repeated_attempt_needs_budget(runs: Runs) -> None:
    [outcome] = await runs.all(["break 1"], budget=EACH, delivery="at_least_once")
    assert outcome.status == "unknown"
    assert isinstance(outcome.error, BudgetExceededError)
    assert len(runs.server.asked) == 1


async def test_a_budget_is_for_all_runs_of_a_journal_and_a_higher_one_continues(runs: Runs) -> None:
    for budget, asked in ((2 * EACH, 2), (2 * EACH, 2), (3 * EACH, 3), (4 * EACH, 4)):
        await runs.saved("a", "break me", "b", "c", budget=budget)
        assert len(runs.server.asked) == asked


@both_loops
async def test_a_job_waits_for_the_money_that_jobs_in_flight_have_reserved(runs: Runs) -> None:
    runs.server.released.set()
    outcomes = await runs.all(["hold 1", "refuse 2", "hold 3", "refuse 4", "hold 5"], budget=3 * EACH)
    assert statuses(outcomes) == ["done", "refused", "done", "refused", "done"]


async def test_a_job_with_an_unknown_price_is_sent_only_with_unknown_price_allow(runs: Runs) -> None:
    unknown = [Generate("a", model="nobody-knows")]
    [stopped] = await runs.all(unknown, budget="1 USD")
    assert isinstance(stopped.error, BudgetExceededError)
    assert "nobody-knows" in str(stopped.error)
    assert runs.server.asked == []
    [sent] = await runs.all(unknown, budget="1 USD", unknown_price="allow")
    assert (sent.status, sent.cost) == ("done", None)


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
    runs: Runs, make_client: Callable[..., AsyncClient], tmp_path: Path
) -> None:
    jobs: list[JobLike] = [*(f"image {n}" for n in range(120)), Generate("x", model="dall-e-3", n=2)]
    jobs.append(Edit(tmp_path / "none.png", "a pool"))
    async with make_client(runs.server.base_url, rate_limit=RateLimit(50)) as client:
        found = await client.images.dry_run(jobs, out=runs.out, defaults=CHEAP)
    assert (found.jobs, found.sent, found.images, found.refused) == (122, 120, 120, 2)
    assert found.cost == found.at_most == 120 * EACH
    assert found.seconds == 120
    assert [place for place, _ in found.problems] == [120, 121]
    assert "dall-e-3" in str(found.problems[0][1])
    assert runs.server.asked == []
    assert not runs.out.exists()


async def test_a_job_that_may_have_been_billed_stays_unknown_and_a_lost_file_missing_without_money_to_repeat_it(
    runs: Runs,
) -> None:
    first, _ = await runs.saved("a", "break me")
    path = first.unwrap()[0].path
    assert path is not None
    path.unlink()
    again = await runs.saved("a", "break me", "b", retry_unknown=True, budget="0.001 USD")
    assert statuses(again) == ["missing", "unknown", "failed"]
    assert all(isinstance(outcome.error, BudgetExceededError) for outcome in again)


async def test_a_run_under_a_budget_says_once_what_quality_auto_reserves_and_what_to_set(
    runs: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    jobs = [Generate(prompt, model="gpt-image-2") for prompt in "abc"]
    async with runs.begin(jobs, budget="100 USD") as run:
        await run.collect()
        [notice] = run.notices
        [foreseen] = (await runs.client.images.dry_run(jobs)).notices
    assert notice == foreseen
    assert re.search(r"may cost up to \$0\.\d\d a job.*quality medium: \$0\.\d\d.*quality=", str(notice))
    assert [record.message for record in caplog.records].count(str(notice)) == 1


@pytest.mark.parametrize(
    ("job", "budget"),
    [
        (Generate("a", model="gpt-image-2"), None),
        (Generate("a", model="gpt-image-2", quality="low"), "100 USD"),
        (Generate("a", model="dall-e-2"), "100 USD"),
    ],
)
async def test_a_run_that_reserves_no_more_than_it_must_says_nothing(
    runs: Runs, job: Generate, budget: str | None
) -> None:
    async with runs.begin([job], budget=budget, unknown_price="allow") as run:
        assert statuses(await run.collect()) == ["done"]
        assert run.notices == ()


async def test_a_dry_run_reads_the_journal_of_earlier_runs(runs: Runs) -> None:
    await runs.saved("a", "a", "break me")
    before = (runs.out / "journal.db").read_bytes()
    jobs = ["a", "b", "a", "a", "break me"]
    async with runs.client as client:
        found = await client.images.dry_run(jobs, out=runs.out, defaults=CHEAP)
        again = await client.images.dry_run(jobs, out=runs.out, defaults=CHEAP, retry_unknown=True)
    assert (found.sent, found.resumed, found.cost) == (2, 3, 2 * EACH)
    assert (again.sent, again.resumed) == (3, 2)
    assert (runs.out / "journal.db").read_bytes() == before


async def test_a_dry_run_has_no_cost_if_one_price_is_unknown(client: AsyncClient) -> None:
    async with client:
        found = await client.images.dry_run(["a", Generate("b", model="nobody-knows")], defaults=CHEAP)
    assert (found.cost, found.at_most, found.unpriced, found.seconds) == (None, None, 1, None)


@given(st.integers(1, 100), st.integers(0, 1000))
def test_the_last_image_waits_for_as_many_windows_as_are_filled_before_it(limit: int, images: int) -> None:
    seconds = seconds_under(RateLimit(limit, per=60), images)
    assert seconds is not None
    assert limit * seconds / 60 <= max(0, images - 1) < limit * (seconds / 60 + 1)
