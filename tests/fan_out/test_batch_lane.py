"""Runs on the batch lanes: one journal, one identity, one price, whatever a batch does wrong."""

from __future__ import annotations

import errno
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import anyio
import pytest

from imagesdk import (
    AsyncClient,
    AsyncRun,
    AuthenticationError,
    BudgetExceededError,
    ConfigurationError,
    Edit,
    Generate,
    ImageSDKError,
    InvalidRequestError,
    Labelled,
    LaneProgress,
    Outcome,
    OutcomeUnknownError,
    Remedy,
    RunStoppedError,
    Variation,
    estimate,
)
from imagesdk._calls import batch_calls, batch_lines
from imagesdk._engine.sink import ImageSink
from imagesdk.emulator import Emulator
from imagesdk.emulator.drawing.painting import Painting
from imagesdk.emulator.faults import FaultTarget
from imagesdk.fan_out import batch_inputs, batch_store, batch_submission, lanes
from tests.support.small_images import png

pytestmark = pytest.mark.anyio
POLL = 0.02


def job(number: int | str, **more: Any) -> Generate:
    return Generate(f"otter {number}", model="gpt-image-2", quality="low", size="1024x1024", **more)


def jobs(count: int = 6) -> list[Generate]:
    return [job(number) for number in range(count)]


@pytest.fixture(scope="module")
def running() -> Iterator[Emulator]:
    with Emulator(limit=None) as emulator:
        yield emulator


@pytest.fixture
def emulator(running: Emulator) -> Emulator:
    """The emulator of the module, as if it were new."""
    running.reset()
    return running


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw next to nothing, look for a batch for moments, and let a cancellation take moments."""
    from PIL import Image

    def draw(self: Painting, index: int) -> Image.Image:
        return Image.linear_gradient("L").resize((32, 32)).convert("RGBA")

    monkeypatch.setattr(Painting, "_draw", draw)
    monkeypatch.setattr(batch_calls, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(batch_lines, "_PAUSE", 0.001)
    monkeypatch.setattr(lanes, "CANCEL_SECONDS", 0.2)
    monkeypatch.setattr(lanes, "LIVE_SECONDS", 20)  # so much time is left for live calls after the cut


class Lane:
    """Runs of one client on an emulator, into one folder."""

    def __init__(self, client: AsyncClient, emulator: Emulator, out: Path) -> None:
        self.client, self.emulator, self.out = client, emulator, out

    async def run(self, given: Sequence[Any], lane: Any = "batch", **options: Any) -> list[Outcome]:
        options = {"out": self.out, "poll": POLL, "lane": lane, **options}
        async with self.client.images.fan_out(given, **options) as run:
            return await run.collect()

    async def run_meanwhile(
        self,
        given: Sequence[Any],
        lane: str,
        meanwhile: Callable[[AsyncRun], Awaitable[object]],
        **options: Any,
    ) -> list[Outcome]:
        """Run jobs, and do something else once a batch has begun."""
        options = {"out": self.out, "poll": POLL, "lane": lane, **options}
        outcomes: list[Outcome] = []
        async with self.client.images.fan_out(given, **options) as run, anyio.create_task_group() as tasks:

            async def act() -> None:
                await self.begun()
                await meanwhile(run)

            tasks.start_soon(act)
            outcomes += await run.collect()
        return outcomes

    async def begun(self, count: int = 1) -> None:
        """Wait until so many batches are being worked on."""
        with anyio.fail_after(20):
            for _ in range(10_000):
                states = [batch.status for batch in await self.client.batches.list()]
                if states.count("in_progress") >= count:
                    break
                await anyio.sleep(POLL)

    async def expire(self, run: AsyncRun) -> None:
        self.emulator.advance(24 * 3600)

    @property
    def bill(self) -> Counter[str]:
        return Counter({str(lane): images for lane, images in self.emulator.state.bill.images.items()})

    def billed_once(self) -> bool:
        return max(self.emulator.state.bill.jobs.values(), default=0) <= 1


@pytest.fixture
async def lane(
    emulator: Emulator, make_client: Callable[..., AsyncClient], tmp_path: Path
) -> AsyncIterator[Lane]:
    async with make_client(emulator.base_url, rate_limit="60000/min") as client:
        yield Lane(client, emulator, tmp_path / "out")


def statuses(outcomes: Sequence[Outcome]) -> Counter[str]:
    return Counter(outcome.status for outcome in outcomes)


def remedies_of(outcome: Outcome) -> tuple[Remedy, ...]:
    assert isinstance(outcome.error, ImageSDKError)
    return outcome.error.remedies


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_run_on_the_batch_lane_has_the_outcomes_of_a_live_run_at_half_the_price(lane: Lane) -> None:
    outcomes = await lane.run(jobs())
    live = await lane.client.images.send(job(0))

    assert statuses(outcomes) == {"done": 6}
    assert all(image.path.is_file() for outcome in outcomes for image in outcome.unwrap() if image.path)
    assert [outcome.place for outcome in outcomes] == list(range(6))
    assert outcomes[0].cost == (live.cost or 0) / 2
    assert lane.bill == {"batch": 6, "live": 1}


async def test_the_same_jobs_again_are_restored_and_cost_nothing_on_every_lane(lane: Lane) -> None:
    first = await lane.run(jobs())
    for name in ("batch", "auto", "live"):
        again = await lane.run(jobs(), name, **({"poll": None} if name == "live" else {}))
        assert statuses(again) == {"done": 6}
        assert all(outcome.resumed for outcome in again)
        assert [outcome.id for outcome in again] == [outcome.id for outcome in first]
    assert lane.bill == {"batch": 6}


async def test_jobs_are_divided_by_model_and_by_endpoint_and_images_are_uploaded_once(lane: Lane) -> None:
    lounge = png(64, 64)
    given = [
        job(0),
        Generate("a lake", model="gpt-image-1.5", quality="low", size="1024x1024"),
        Edit(lounge, "a pool", model="gpt-image-2", quality="low", size="1024x1024"),
        Edit([lounge, png(32, 32)], "a garden", model="gpt-image-2", quality="low", size="1024x1024"),
    ]
    outcomes = await lane.run(given)

    assert statuses(outcomes) == {"done": 4}
    batches = await lane.client.batches.list()
    assert (
        sorted((batch.endpoint or "")[-5:] for batch in batches) == ["dits", "tions", "tions"]
        or len(batches) == 3
    )
    assert len(await lane.client.files.list(purpose="vision")) == 2


async def test_a_variation_is_refused_on_the_batch_lane_and_goes_live_on_auto(lane: Lane) -> None:
    given = [job(0), Variation(png(8, 8), model="dall-e-2")]
    refused = await lane.run(given)
    live = await lane.run(given, "auto")

    assert [outcome.status for outcome in refused] == ["done", "refused"]
    assert isinstance(refused[1].error, InvalidRequestError)
    assert statuses(live) == {"done": 2}
    assert lane.bill == {"batch": 1, "live": 1}


@pytest.mark.parametrize("name", ["batch", "auto"])
async def test_lines_that_are_missing_or_have_no_status_are_unknown_and_never_go_live(
    lane: Lane, name: str
) -> None:
    given = [Labelled(f"j{number}", job(number)) for number in range(6)]
    lane.emulator.state.faults.batch(missing=["0-j0"], no_status=["1-j1"], duplicated=["2-j2", "3-j3"])
    outcomes = await lane.run(given, name)
    again = await lane.run(given, name)

    assert statuses(outcomes) == {"done": 4, "unknown": 2}
    assert all(isinstance(each.error, OutcomeUnknownError) for each in outcomes if each.status == "unknown")
    assert statuses(again) == {"done": 4, "unknown": 2}
    assert lane.bill == {"batch": 6}


async def test_unknown_lines_are_made_again_only_if_the_caller_asks_for_it(lane: Lane) -> None:
    lane.emulator.state.faults.batch(missing=2)
    await lane.run(jobs())
    outcomes = await lane.run(jobs(), retry_unknown=True)

    assert statuses(outcomes) == {"done": 6}
    assert lane.bill == {"batch": 8}


@pytest.mark.parametrize(("name", "status"), [("batch", "failed"), ("auto", "done")])
async def test_of_an_expired_batch_what_is_done_is_delivered_and_the_rest_fails_or_goes_live(
    lane: Lane, name: str, status: str
) -> None:
    lane.emulator.state.faults.batch(stuck=0.5)
    outcomes = await lane.run_meanwhile(jobs(), name, lane.expire)

    assert statuses(outcomes) == Counter({"done": 3}) + Counter({status: 3})
    assert lane.bill == Counter({"batch": 3}) + Counter({"live": 3 if name == "auto" else 0})
    assert all(outcome.cost for outcome in outcomes if outcome.status == "done")
    rerun = await lane.run(jobs(), name)
    assert statuses(rerun) == {"done": 6}
    assert lane.bill.total() == 6


async def test_counts_that_lie_leave_the_rest_of_a_cancelled_batch_unknown(lane: Lane) -> None:
    lane.emulator.state.faults.batch(stuck=0.5, counts={"completed": 2}, missing=1)

    async def cancel(run: AsyncRun) -> None:
        [batch] = await lane.client.batches.list()
        await lane.client.batches.cancel(batch)
        lane.emulator.advance(3600)

    outcomes = await lane.run_meanwhile(jobs(), "auto", cancel)
    assert statuses(outcomes) == {"done": 5, "unknown": 1}
    assert lane.bill == {"batch": 3, "live": 3}
    assert lane.billed_once()


async def test_requests_that_fail_in_a_batch_are_unknown_because_a_server_error_may_be_billed(
    lane: Lane,
) -> None:
    lane.emulator.state.faults.batch(failed=2)
    outcomes = await lane.run(jobs(), "auto")

    assert statuses(outcomes) == {"done": 4, "unknown": 2}


async def test_a_batch_without_an_output_file_has_unknown_jobs(lane: Lane) -> None:
    lane.emulator.state.faults.batch(no_output_file=True)
    assert statuses(await lane.run(jobs(), "auto")) == {"unknown": 6}


async def test_files_that_are_gone_leave_their_jobs_unknown_and_say_which(lane: Lane) -> None:
    lane.emulator.state.faults.batch(files_gone=True)
    outcomes = await lane.run(jobs(2), "auto")

    assert statuses(outcomes) == {"unknown": 2}
    assert all("is gone" in str(outcome.error) for outcome in outcomes)


async def test_too_many_enqueued_tokens_are_no_failure_the_jobs_go_into_smaller_batches(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_submission, "token_wait", Mock(return_value=0.02))
    lane.emulator.state.faults.batch(error="token_limit_exceeded")
    outcomes = await lane.run(jobs())

    assert statuses(outcomes) == {"done": 6}
    assert lane.bill == {"batch": 6}
    assert len(await lane.client.batches.list()) == 3  # one refused, two of half its size


@pytest.mark.parametrize(("name", "status"), [("batch", "failed"), ("auto", "done")])
async def test_a_batch_that_fails_in_validation_costs_nothing_and_its_jobs_fail_or_go_live(
    lane: Lane, name: str, status: str
) -> None:
    lane.emulator.state.faults.batch(error="billing_hard_limit_reached")
    outcomes = await lane.run(jobs(2), name)

    assert statuses(outcomes) == {status: 2}
    assert lane.bill == ({} if name == "batch" else {"live": 2})


@pytest.mark.parametrize("target", ["polls", "batches", "contents"])
async def test_a_server_that_is_busy_or_fails_for_a_while_changes_nothing(
    lane: Lane, target: FaultTarget
) -> None:
    faults = lane.emulator.state.faults
    for status in (429, 500):
        faults.http(status, on=target)
    outcomes = await lane.run(jobs(2))

    assert statuses(outcomes) == {"done": 2}
    assert lane.billed_once()


async def test_a_batch_whose_creation_has_no_answer_is_found_by_listing(lane: Lane) -> None:
    lane.emulator.state.faults.connection(drop=True, after_work=True, on="batches")
    outcomes = await lane.run(jobs(2))

    assert statuses(outcomes) == {"done": 2}
    assert lane.billed_once()
    assert len(await lane.client.batches.list()) == 1


async def test_a_download_that_breaks_off_continues_where_it_broke(lane: Lane) -> None:
    lane.emulator.state.faults.connection(truncate=3000, on="contents", times=3)
    outcomes = await lane.run(jobs())

    assert statuses(outcomes) == {"done": 6}
    assert all((lane.out / image.path).stat().st_size for o in outcomes for image in o.unwrap() if image.path)
    assert sorted(path.suffix for path in lane.out.iterdir() if path.suffix == ".part") == []


async def test_a_deadline_is_met_against_a_server_that_is_stuck_at_the_price_of_live_calls(
    lane: Lane,
) -> None:
    lane.emulator.state.faults.batch(stuck=0)
    outcomes = await lane.run(jobs(), "auto", deadline="22s")

    assert statuses(outcomes) == {"done": 6}
    assert lane.bill == {"live": 6}
    prices = {estimate(job(0)).cost}
    assert {round(outcome.cost or Decimal(0), 3) for outcome in outcomes} == {
        round(price or Decimal(0), 3) for price in prices
    }


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_deadline_cuts_a_slow_batch_off_and_only_what_it_has_not_begun_goes_live(lane: Lane) -> None:
    lane.emulator.state.faults.batch(stuck=0.5)
    outcomes = await lane.run(jobs(), "auto", deadline=timedelta(seconds=24))

    assert statuses(outcomes) == {"done": 6}
    assert lane.bill == {"batch": 3, "live": 3}
    assert lane.billed_once()


async def test_on_the_batch_lane_a_deadline_delivers_what_is_done_and_the_rest_fails_unbilled(
    lane: Lane,
) -> None:
    lane.emulator.state.faults.batch(stuck=0.5)
    outcomes = await lane.run(jobs(), "batch", deadline=3)

    assert statuses(outcomes) == {"done": 3, "failed": 3}
    assert lane.bill == {"batch": 3}


async def test_a_batch_whose_cancellation_never_ends_is_unknown_at_the_deadline_and_found_by_the_next_run(
    lane: Lane,
) -> None:
    lane.emulator.state.faults.batch(stuck=0.5, cancel_hangs=True)
    outcomes = await lane.run(jobs(), "batch", deadline=3)
    [batch] = vars(lane.emulator.state.batches)["_batches"].values()
    batch.fault = type(batch.fault)(stuck=0.5)  # the server has recovered
    later = await lane.run(jobs(), "auto")

    assert statuses(outcomes) == {"unknown": 6}
    assert all(Remedy.USE_BATCH_LANE in remedies_of(outcome) for outcome in outcomes)
    assert statuses(later) == {"done": 6}
    assert lane.bill == {"batch": 3, "live": 3}


async def test_a_deadline_that_cannot_be_met_is_reported_at_once_and_what_fits_is_delivered(
    emulator: Emulator, make_client: Callable[..., AsyncClient], tmp_path: Path
) -> None:
    async with make_client(emulator.base_url, rate_limit="2/min") as client:
        async with client.images.fan_out(jobs(4), out=tmp_path, lane="auto", deadline=20, poll=POLL) as run:
            outcomes = [await anext(run), await anext(run)]
            notices = run.notices

    assert statuses(outcomes) == {"done": 2}
    assert "4 images are open" in str(notices[0])
    assert emulator.state.bill.images == {"live": 2}


async def test_the_deadline_counts_from_the_first_start_of_the_run(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane.emulator.state.faults.batch(stuck=0.5)

    async def stop(run: AsyncRun) -> None:
        run.stop()

    with monkeypatch.context() as patch:
        patch.setattr(batch_store, "time", lambda: time.time() - 3600)
        await lane.run_meanwhile(jobs(), "batch", stop, deadline="90m")
    with anyio.fail_after(5):
        outcomes = await lane.run(jobs(), "batch", deadline="1h")

    assert statuses(outcomes) == {"done": 3, "failed": 3}


async def test_a_run_that_is_stopped_leaves_its_batch_to_the_next_run(lane: Lane) -> None:
    lane.emulator.state.faults.batch(stuck=0.5)

    async def stop(run: AsyncRun) -> None:
        run.stop()

    stopped = await lane.run_meanwhile(jobs(), "batch", stop)
    lane.emulator.advance(24 * 3600)
    resumed = await lane.run(jobs())

    assert stopped == []
    assert statuses(resumed) == {"done": 3, "failed": 3}
    assert lane.bill == {"batch": 3}


async def test_jobs_in_a_batch_are_not_sent_by_a_live_run_of_the_same_journal(lane: Lane) -> None:
    lane.emulator.state.faults.batch(stuck=0.5)

    async def stop(run: AsyncRun) -> None:
        run.stop()

    await lane.run_meanwhile(jobs(2), "batch", stop)
    outcomes = await lane.run(jobs(2), "live", poll=None)

    assert statuses(outcomes) == {"unknown": 2}
    assert all(Remedy.USE_BATCH_LANE in remedies_of(outcome) for outcome in outcomes)
    assert lane.bill["live"] == 0


async def test_money_is_reserved_at_the_price_of_a_batch(lane: Lane) -> None:
    each = estimate(job(0), batch=True).at_most
    assert each is not None
    outcomes = await lane.run(jobs(4), budget=3 * each)

    assert statuses(outcomes) == {"done": 3, "failed": 1}
    assert [type(outcome.error) for outcome in outcomes if outcome.error] == [BudgetExceededError]
    assert sum(outcome.cost or 0 for outcome in outcomes) <= 3 * each
    again = await lane.run(jobs(4), budget=5 * each)
    assert statuses(again) == {"done": 4}


async def test_a_model_without_a_published_price_in_batches_is_not_sent_under_a_budget(lane: Lane) -> None:
    given = [Generate("otter", model="gpt-image-2.6-sunburst", quality="low", size="1024x1024")]
    [outcome] = await lane.run(given, budget=10)

    assert estimate(given[0], batch=True).cost is None
    assert outcome.status == "failed"
    assert "unknown" in str(outcome.error)


@pytest.mark.parametrize(
    "options",
    [
        {"lane": "cheap"},
        {"lane": "live", "deadline": "20h"},
        {"lane": "auto", "deadline": "soon"},
        {"lane": "auto", "deadline": 0},
        {"lane": "batch", "poll": 0},
        {"lane": "batch", "journal": False},
        {"lane": "batch", "out": None},
    ],
)
async def test_options_that_do_not_belong_together_are_refused_before_anything_is_sent(
    lane: Lane, options: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError):
        await lane.run(jobs(1), **{"lane": "batch", "poll": None, **options})
    assert await lane.client.batches.list() == ()


@pytest.mark.parametrize("base_url", ["https://api.x.ai/v1", "https://images.example"])
async def test_a_server_without_a_batch_api_is_named_before_money_is_spent(
    make_client: Callable[..., AsyncClient], tmp_path: Path, base_url: str
) -> None:
    client = (
        make_client(base_url)
        if "x.ai" in base_url
        else AsyncClient.azure(base_url, api_key="k", deployment="d", api_version="2025-04-01-preview")
    )
    async with client:
        with pytest.raises(ConfigurationError, match="Batch API"):
            async with client.images.fan_out(["a"], out=tmp_path, lane="batch"):
                pass


async def test_a_key_that_is_refused_ends_the_run_and_leaves_its_jobs_to_the_next_one(lane: Lane) -> None:
    lane.emulator.state.faults.http(401, on="files")
    with pytest.raises(AuthenticationError):
        await lane.run(jobs(2))
    assert statuses(await lane.run(jobs(2))) == {"done": 2}
    assert lane.bill == {"batch": 2}


async def test_a_batch_that_may_have_been_created_is_not_created_again_while_nobody_can_look(
    lane: Lane,
) -> None:
    lane.emulator.state.faults.connection(drop=True, after_work=True, on="batches")
    lane.emulator.state.faults.http(403, on="polls", times=1)
    outcomes = await lane.run(jobs(2))
    again = await lane.run(jobs(2))

    assert statuses(outcomes) == {"unknown": 2}
    assert statuses(again) == {"done": 2}
    assert lane.bill == {"batch": 2}
    assert len(await lane.client.batches.list()) == 1


async def test_a_dry_run_knows_the_price_of_a_batch(lane: Lane) -> None:
    live, batch, auto = [
        await lane.client.images.dry_run(jobs(2), out=lane.out, lane=name)
        for name in ("live", "batch", "auto")
    ]
    assert live.cost is not None
    assert (batch.cost, auto.cost) == (live.cost / 2, live.cost / 2)
    assert auto.at_most == live.at_most


async def test_a_batch_whose_jobs_the_run_does_not_have_is_not_waited_for(lane: Lane) -> None:
    lane.emulator.state.faults.batch(stuck=0.5)

    async def stop(run: AsyncRun) -> None:
        run.stop()

    await lane.run_meanwhile(jobs(2), "batch", stop)
    with anyio.fail_after(5):
        assert statuses(await lane.run([job("of another list")])) == {"done": 1}
    lane.emulator.advance(24 * 3600)
    assert statuses(await lane.run(jobs(2))) == {"done": 1, "failed": 1}


async def test_progress_shows_the_batches_of_the_run(lane: Lane) -> None:
    lane.emulator.state.faults.batch(stuck=0.5)
    seen: list[LaneProgress | None] = []

    async def look(run: AsyncRun) -> None:
        for _ in range(1000):
            seen.append(run.progress.lane)
            if seen[-1] and seen[-1].batches and seen[-1].batches[0].counts:
                break
            await anyio.sleep(POLL)
        await lane.expire(run)

    await lane.run_meanwhile(jobs(), "batch", look, deadline="20h")
    assert seen[-1] is not None
    assert seen[-1].deadline is not None
    assert seen[-1].enqueued_tokens > 0


async def test_a_webhook_ends_the_wait_of_a_run_at_once(lane: Lane) -> None:
    lane.emulator.state.faults.batch(stuck=0.5)

    async def tell(run: AsyncRun) -> None:
        await lane.expire(run)
        [batch] = await lane.client.batches.list()
        lane.client.batches.notify(batch)

    with anyio.fail_after(10):
        outcomes = await lane.run_meanwhile(jobs(2), "batch", tell, poll=3600)
    assert statuses(outcomes) == {"done": 1, "failed": 1}


async def test_money_of_a_batch_that_another_process_has_begun_is_counted_once(lane: Lane) -> None:
    lane.emulator.state.faults.batch(stuck=0.5)
    each = estimate(job(0), batch=True).at_most
    assert each is not None

    async def stop(run: AsyncRun) -> None:
        run.stop()

    await lane.run_meanwhile(jobs(2), "batch", stop, budget=3 * each)
    lane.emulator.advance(24 * 3600)
    outcomes = await lane.run([*jobs(2), job(2)], "batch", budget=3 * each)

    assert statuses(outcomes) == {"done": 2, "failed": 1}  # the one that the batch had not begun


async def test_uploads_keep_to_their_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = 0.0, list[float]()

    async def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += seconds

    monkeypatch.setattr("imagesdk.fan_out.batch_inputs.anyio.sleep", sleep)
    pace = batch_inputs.UploadPace(limit=3, clock=lambda: now)
    for _ in range(7):
        await pace.wait()
        now += 1
    assert slept == [57, 57]


@pytest.mark.parametrize("target", ["polls", "contents"])
async def test_a_server_that_stays_away_ends_the_run_and_the_next_run_fetches_its_batch(
    lane: Lane, target: FaultTarget
) -> None:
    lane.emulator.state.faults.http(503, on=target, times=200)
    with pytest.raises(RunStoppedError) as caught:
        await lane.run(jobs(2), give_up_after=0.01)
    lane.emulator.state.faults.clear()

    assert caught.value.reason == "server_away"
    assert statuses(await lane.run(jobs(2))) == {"done": 2}
    assert lane.bill == {"batch": 2}


async def test_jobs_that_are_done_do_not_count_for_the_deadline_of_the_others(
    emulator: Emulator, make_client: Callable[..., AsyncClient], tmp_path: Path
) -> None:
    async with make_client(emulator.base_url, rate_limit="2/min") as client:
        lane = Lane(client, emulator, tmp_path / "out")
        await lane.run(jobs(20))
        outcomes = await lane.run(jobs(21), "auto", deadline="3m")  # 21 live images would take 10 minutes

    assert statuses(outcomes) == {"done": 21}
    assert lane.bill == {"batch": 21}


async def test_a_full_disk_ends_the_run_and_the_next_run_fetches_the_same_batch(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with monkeypatch.context() as patch:
        patch.setattr(ImageSink, "_write_batch", Mock(side_effect=full))
        with pytest.raises(OSError, match="Free disk space"):
            await lane.run(jobs(2))

    assert statuses(await lane.run(jobs(2))) == {"done": 2}
    assert lane.bill == {"batch": 2}
    assert len(await lane.client.batches.list()) == 1
