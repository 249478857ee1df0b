"""Runs of many jobs as users see them: outcomes, back-pressure, stopping, errors and file names."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import anyio
import pytest

from imagesdk import (
    APIResponseError,
    AsyncClient,
    Client,
    ConfigurationError,
    Edit,
    Generate,
    InternalServerError,
    InvalidRequestError,
    JobLike,
    Labelled,
    ModerationError,
    RateLimit,
    RetryPolicy,
)
from imagesdk._media.atomic import create_temporary, move_if_free
from imagesdk._media.output import OutputTemplate
from imagesdk.fan_out import output_files
from imagesdk.fan_out.scheduler import AHEAD
from tests.support.billing_server import BillingServer
from tests.support.runs import Runs, statuses, until, wait_for
from tests.support.small_images import png

pytestmark = pytest.mark.anyio
both_loops = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])


@both_loops
async def test_outcomes_come_as_jobs_finish_and_a_slow_job_delays_no_other(runs: Runs) -> None:
    async with runs.begin(["hold on", "a", "b"]) as run:
        first = [await anext(run), await anext(run)]
        runs.server.released.set()
        last = await anext(run)
    assert {outcome.place for outcome in first} == {1, 2}
    assert last.place == 0


async def test_collect_returns_outcomes_in_the_order_of_the_jobs(runs: Runs) -> None:
    jobs = [f"image {n}" for n in range(20)]
    outcomes = await runs.all(jobs)
    assert [outcome.job for outcome in outcomes] == [Generate(job) for job in jobs]
    assert all(outcome.unwrap()[0].bytes for outcome in outcomes)


async def test_a_failed_job_has_an_error_and_the_others_are_done(runs: Runs) -> None:
    async with runs.begin(["a", "refuse me", "break me", "b", "c"]) as run:
        assert run.progress.total == 5
        outcomes = await run.collect()
    assert statuses(outcomes) == ["done", "refused", "unknown", "done", "done"]
    assert [type(outcome.error) for outcome in outcomes[1:3]] == [ModerationError, InternalServerError]
    with pytest.raises(ModerationError):
        outcomes[1].unwrap()
    assert outcomes[2].attempts == 1
    assert runs.server.billed["break me"] == 1
    progress = run.progress
    assert (progress.done, progress.refused, progress.unknown, progress.failed) == (3, 1, 1, 0)
    assert (progress.finished, progress.waiting, progress.images) == (5, 0, 3)


async def test_a_job_that_breaks_a_rule_of_its_model_or_of_out_is_refused_and_not_sent(runs: Runs) -> None:
    jobs: list[JobLike] = [Generate("b", model="dall-e-3", n=2), Generate("urls please", n=2), "a"]
    *refused, done = await runs.saved(*jobs, out=runs.out / "{id}.{ext}")
    assert (statuses(refused), done.status) == (["refused"] * 2, "done")
    errors = [outcome.error for outcome in refused if isinstance(outcome.error, InvalidRequestError)]
    assert [error.param for error in errors] == ["n", "out"]
    assert errors[1].allowed == "a folder, or a template with {index}"
    assert runs.server.asked == ["a"]


async def test_an_input_image_that_cannot_be_read_fails_its_job_only(runs: Runs) -> None:
    failed, done = await runs.all([Edit(runs.out / "none.png", "a pool"), "a"])
    assert (failed.status, done.status) == ("failed", "done")
    assert isinstance(failed.error, FileNotFoundError)


async def test_at_least_once_repeats_attempts_until_the_image_arrives(runs: Runs) -> None:
    jobs = ["spoil 1 me", "spoil 4 me", "break me"]
    outcomes = await runs.all(jobs, delivery="at_least_once")
    assert statuses(outcomes) == ["done", "done", "unknown"]
    assert [outcome.attempts for outcome in outcomes] == [2, 5, 30]
    assert [runs.server.billed[job] for job in jobs] == [2, 5, 30]
    assert all(len(set(runs.server.keys[job])) == 1 for job in jobs)


@pytest.mark.parametrize("delivery", ["at_most_once", "at_least_once"])
async def test_a_job_whose_answer_has_no_image_is_not_done_and_is_asked_for_once(
    runs: Runs, delivery: Any
) -> None:
    jobs = ["empty", "empty content filter", "a"]
    outcomes = await runs.saved(*jobs, delivery=delivery)
    assert statuses(outcomes) == ["unknown", "unknown", "done"]
    assert [type(outcome.error) for outcome in outcomes] == [APIResponseError, ModerationError, type(None)]
    assert "content_filter" in str(outcomes[1].error)

    again = await runs.saved(*jobs, delivery=delivery)
    assert statuses(again) == ["unknown", "unknown", "done"]
    assert runs.server.billed == dict.fromkeys(jobs, 1)

    await runs.saved(*jobs, delivery=delivery, retry_unknown=True)
    assert runs.server.billed == {"empty": 2, "empty content filter": 2, "a": 1}


async def test_an_outcome_counts_the_images_that_are_missing_also_when_it_is_resumed(runs: Runs) -> None:
    jobs: list[JobLike] = [Generate("spare one", n=2), "a"]
    for resumed in (False, True):
        outcomes = await runs.saved(*jobs)
        assert statuses(outcomes) == ["done", "done"]
        assert [(outcome.missing, outcome.resumed) for outcome in outcomes] == [(1, resumed), (0, resumed)]
        assert len(outcomes[0].unwrap()) == 1
    assert runs.server.billed["spare one"] == 1


async def test_at_most_once_never_repeats_whatever_the_retry_policy_of_the_client_is(
    runs: Runs, make_client: Callable[..., AsyncClient]
) -> None:
    eager = RetryPolicy(max_attempts=20, max_ambiguous=20, backoff=0)
    runs.client = make_client(runs.server.base_url, retry=eager)
    [outcome] = await runs.all(["break me"])
    assert (outcome.status, outcome.attempts, runs.server.billed["break me"]) == ("unknown", 1, 1)


async def test_an_image_that_is_only_a_url_is_fetched(runs: Runs) -> None:
    [outcome] = await runs.all(["url please"])
    assert outcome.unwrap()[0].bytes == png(2, 2)
    assert outcome.unwrap()[0].url


async def test_a_run_can_be_collected_once(runs: Runs) -> None:
    async with runs.begin(["a", "b"]) as run:
        await anext(run)
        assert len(await run.collect()) == 1
        with pytest.raises(RuntimeError, match="keep the list"):
            await run.collect()
        assert [outcome async for outcome in run] == []


@both_loops
async def test_a_run_pauses_while_16_outcomes_with_images_in_memory_are_unread(runs: Runs) -> None:
    async with runs.begin(["a"] * 100, concurrency=1) as run:
        await until(lambda: run.progress.done == AHEAD)
        await anyio.wait_all_tasks_blocked()
        assert len(runs.server.asked) == AHEAD
        await anext(run)
        await until(lambda: run.progress.done == AHEAD + 1)
        assert len(runs.server.asked) == AHEAD + 1


async def test_a_run_with_files_continues_while_its_outcomes_are_unread(runs: Runs) -> None:
    async with runs.begin(["a"] * 50, out=runs.out) as run:
        await until(lambda: run.progress.done == 50)
    assert len(runs.pngs()) == 50


@both_loops
async def test_one_job_of_a_run_waits_for_the_limit_so_a_single_call_is_behind_one_job(
    runs: Runs, make_client: Callable[..., AsyncClient]
) -> None:
    runs.client = make_client(runs.server.base_url, rate_limit=RateLimit(5, per=0.5))
    async with runs.begin(["run"] * 1000) as run:
        while run.progress.done < 5:
            await anext(run)
        before = len(runs.server.asked)
        await runs.client.images.generate("beside")
        assert "beside" in runs.server.asked[before : before + 3]


@both_loops
async def test_stop_lets_sent_jobs_finish_and_cancels_the_job_that_waits_for_the_limit(
    runs: Runs, make_client: Callable[..., AsyncClient]
) -> None:
    runs.client = make_client(runs.server.base_url, rate_limit=RateLimit(2))
    async with runs.begin(["hold on"] * 10) as run:
        await anyio.to_thread.run_sync(runs.server.wait_until, lambda: runs.server.held == 2)
        run.stop()
        runs.server.released.set()
        assert statuses(await run.collect()) == ["done", "done"]
    assert run.progress.in_flight == 0
    assert len(runs.server.asked) == 2


@both_loops
async def test_stop_ends_a_run_whose_next_job_never_comes(runs: Runs) -> None:
    async def prompts() -> AsyncGenerator[str, None]:
        yield "a"
        await anyio.sleep_forever()

    async with runs.begin(prompts()) as run:
        assert (await anext(run)).status == "done"
        await anyio.to_thread.run_sync(run.stop)
        assert await run.collect() == []


@both_loops
async def test_leaving_the_block_early_cancels_the_rest(runs: Runs) -> None:
    async with runs.begin(["hold on", *["a"] * 5], concurrency=2) as run:
        await anext(run)
    assert len(runs.server.asked) <= 6
    assert statuses(await runs.all(["b"])) == ["done"]


@both_loops
async def test_an_exception_of_the_block_is_not_wrapped(client: AsyncClient, server: BillingServer) -> None:
    with pytest.raises(ZeroDivisionError) as caught:  # noqa: PT012
        async with client, client.images.fan_out(["hold on"] * 3):
            await wait_for(server.arrived)
            _ = 1 / 0
    assert caught.value.__context__ is None


@both_loops
async def test_a_run_can_be_cancelled_from_outside(runs: Runs) -> None:
    with anyio.move_on_after(30) as scope:
        async with runs.begin(["hold on"] * 3) as run:
            await wait_for(runs.server.arrived)
            scope.cancel()
            await run.collect()
    assert scope.cancelled_caught


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        *(({"concurrency": wrong}, ConfigurationError, "concurrency") for wrong in (0, -1, True, 1.5)),
        ({"out": "cat.png"}, InvalidRequestError, "same name"),
        ({"out": "cats/{index}.{ext}"}, InvalidRequestError, "same name"),
        ({"budget": "a lot"}, ConfigurationError, "budget"),
        ({"budget": -1}, ConfigurationError, "budget"),
        ({"budget": 1.5}, ConfigurationError, "budget"),
        ({"unknown_price": "maybe"}, ConfigurationError, "unknown_price"),
    ],
)
async def test_a_wrong_option_is_refused_before_any_job_is_sent(
    runs: Runs, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        await runs.all(["a"], **options)
    assert runs.server.asked == []


async def test_files_are_named_by_label_place_or_prompt(runs: Runs) -> None:
    jobs: list[JobLike] = [Labelled("Nr. 1/2", "a river"), "a lake"]
    await runs.saved(*jobs, out=runs.out / "{id}.{ext}")
    assert "nr-1-2.png" in runs.pngs()
    assert len(runs.pngs()) == 2
    await runs.saved(*jobs, out=runs.out / "b" / "{job}-{slug}.{ext}")
    assert {path.name for path in runs.out.glob("b/*.png")} == {"0-a-river.png", "1-a-lake.png"}


async def test_a_run_never_replaces_a_file_of_others(runs: Runs) -> None:
    runs.out.mkdir()
    mine = runs.out / "a.png"
    mine.write_bytes(b"mine")
    outcomes = await runs.saved("a", "a", out=runs.out / "{slug}.{ext}")
    assert mine.read_bytes() == b"mine"
    paths = {outcome.unwrap()[0].path for outcome in outcomes}
    assert paths == {runs.out / "a-2.png", runs.out / "a-3.png"}


async def test_a_name_that_another_program_takes_meanwhile_is_left_to_it(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(temporary: Path, final: Path, *, fsync: bool) -> None:
        if final.name == "a.png":
            final.write_bytes(b"theirs")
        move_if_free(temporary, final, fsync=fsync)

    monkeypatch.setattr(output_files, "move_if_free", late)
    for resumed in (False, True):
        [outcome] = await runs.saved("a", out=runs.out / "{slug}.{ext}")
        assert outcome.unwrap()[0].path == runs.out / "a-2.png"
        assert outcome.resumed is resumed
    assert (runs.out / "a.png").read_bytes() == b"theirs"


async def test_out_is_parsed_and_probed_once_a_run(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    probe, parse = Mock(wraps=create_temporary), Mock(wraps=OutputTemplate.parse)
    monkeypatch.setattr("imagesdk._media.output.create_temporary", probe)
    monkeypatch.setattr(OutputTemplate, "parse", parse)
    assert statuses(await runs.saved(*(f"image {n}" for n in range(10)))) == ["done"] * 10
    assert (probe.call_count, parse.call_count) == (1, 1)


def test_a_blocking_run_is_iterated_collected_once_watched_and_stopped(
    blocking_client: Client, server: BillingServer
) -> None:
    with blocking_client.images.fan_out(f"image {n}" for n in range(10)) as run:
        assert next(run).status == "done"
        assert len(run.collect()) == 9
        assert run.progress.done == 10
        with pytest.raises(RuntimeError, match="keep the list"):
            run.collect()
    with blocking_client.images.fan_out(["hold on"] * 3, concurrency=1) as run:
        assert server.arrived.wait(10)
        run.stop()
        server.released.set()
        assert statuses(run) == ["done"]


def test_an_exception_of_a_blocking_block_is_not_wrapped(
    blocking_client: Client, server: BillingServer
) -> None:
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        with blocking_client.images.fan_out(["hold on"] * 3):
            assert server.arrived.wait(10)
            _ = 1 / 0
    assert blocking_client.images.generate("a")[0].bytes
