"""Runs of many jobs as users see them: outcomes, back-pressure, stopping, errors and file names."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from imagesdk import (
    AsyncClient,
    Client,
    ConfigurationError,
    DownloadError,
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
from imagesdk._media.atomic import create_temporary
from imagesdk._media.output import OutputTemplate
from imagesdk.fan_out.scheduler import AHEAD
from tests.support.billing_server import BillingServer
from tests.support.runs import until, wait_for
from tests.support.small_images import png

pytestmark = pytest.mark.anyio
both_loops = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])


@both_loops
async def test_outcomes_come_as_jobs_finish_and_a_slow_job_delays_no_other(
    client: AsyncClient, server: BillingServer
) -> None:
    async with client, client.images.fan_out(["hold on", "a", "b"]) as run:
        first = [await anext(run), await anext(run)]
        server.released.set()
        last = await anext(run)
    assert {outcome.place for outcome in first} == {1, 2}
    assert last.place == 0


async def test_collect_returns_outcomes_in_the_order_of_the_jobs(client: AsyncClient) -> None:
    async with client, client.images.fan_out([f"image {n}" for n in range(20)]) as run:
        outcomes = await run.collect()
    assert [outcome.job for outcome in outcomes] == [Generate(f"image {n}") for n in range(20)]
    assert all(outcome.unwrap()[0].bytes for outcome in outcomes)


async def test_a_failed_job_has_an_error_and_the_others_are_done(
    client: AsyncClient, server: BillingServer
) -> None:
    jobs = ["a", "refuse me", "break me", "b", "c"]
    async with client, client.images.fan_out(jobs) as run:
        outcomes = await run.collect()
    assert [outcome.status for outcome in outcomes] == ["done", "refused", "unknown", "done", "done"]
    assert [type(outcome.error) for outcome in outcomes[1:3]] == [ModerationError, InternalServerError]
    with pytest.raises(ModerationError):
        outcomes[1].unwrap()
    assert outcomes[2].attempts == 1
    assert server.billed["break me"] == 1


async def test_a_job_that_breaks_a_rule_is_refused_and_not_sent(
    client: AsyncClient, server: BillingServer
) -> None:
    jobs: list[JobLike] = [Generate("b", model="dall-e-3", n=2), "a"]
    async with client, client.images.fan_out(jobs) as run:
        refused, done = await run.collect()
    assert (refused.status, done.status) == ("refused", "done")
    assert isinstance(refused.error, InvalidRequestError)
    assert server.asked == ["a"]


async def test_an_input_image_that_cannot_be_read_fails_its_job_only(
    client: AsyncClient, tmp_path: Path
) -> None:
    async with client, client.images.fan_out([Edit(tmp_path / "none.png", "a pool"), "a"]) as run:
        failed, done = await run.collect()
    assert (failed.status, done.status) == ("failed", "done")
    assert isinstance(failed.error, FileNotFoundError)


async def test_at_least_once_repeats_attempts_until_the_image_arrives(
    client: AsyncClient, server: BillingServer
) -> None:
    jobs = ["spoil 1 me", "spoil 4 me", "break me"]
    async with client, client.images.fan_out(jobs, delivery="at_least_once") as run:
        outcomes = await run.collect()
    assert [outcome.status for outcome in outcomes] == ["done", "done", "unknown"]
    assert [outcome.attempts for outcome in outcomes] == [2, 5, 10]
    assert [server.billed[job] for job in jobs] == [2, 5, 10]
    assert all(len(set(server.keys[job])) == 1 for job in jobs)


async def test_at_most_once_never_repeats_whatever_the_retry_policy_of_the_client_is(
    make_client: Callable[..., AsyncClient], server: BillingServer
) -> None:
    eager = make_client(server.base_url, retry=RetryPolicy(max_attempts=20, max_ambiguous=20, backoff=0))
    async with eager, eager.images.fan_out(["break me"]) as run:
        [outcome] = await run.collect()
    assert (outcome.status, outcome.attempts, server.billed["break me"]) == ("unknown", 1, 1)


async def test_an_image_that_is_only_a_url_is_fetched(client: AsyncClient, server: BillingServer) -> None:
    async with client, client.images.fan_out(["url please"]) as run:
        [outcome] = await run.collect()
    assert outcome.unwrap()[0].bytes == png(2, 2)
    assert outcome.unwrap()[0].url


async def test_a_failed_download_fails_the_job_and_nothing_is_generated_again(
    client: AsyncClient, server: BillingServer, tmp_path: Path
) -> None:
    server.broken_downloads = True
    async with client, client.images.fan_out(["url please"], out=tmp_path) as run:
        [outcome] = await run.collect()
    assert outcome.status == "failed"
    assert isinstance(outcome.error, DownloadError)
    assert server.billed["url please"] == 1


async def test_a_run_can_be_collected_once(client: AsyncClient) -> None:
    async with client, client.images.fan_out(["a", "b"]) as run:
        await anext(run)
        assert len(await run.collect()) == 1
        with pytest.raises(RuntimeError, match="keep the list"):
            await run.collect()
        assert [outcome async for outcome in run] == []


@both_loops
async def test_a_run_pauses_while_16_outcomes_with_images_in_memory_are_unread(
    client: AsyncClient, server: BillingServer
) -> None:
    async with client, client.images.fan_out(["a"] * 100, concurrency=1) as run:
        await until(lambda: run.progress.done == AHEAD)
        await anyio.wait_all_tasks_blocked()
        assert len(server.asked) == AHEAD
        await anext(run)
        await until(lambda: run.progress.done == AHEAD + 1)
        assert len(server.asked) == AHEAD + 1


async def test_a_run_with_files_continues_while_its_outcomes_are_unread(
    client: AsyncClient, tmp_path: Path
) -> None:
    async with client, client.images.fan_out(["a"] * 50, out=tmp_path) as run:
        await until(lambda: run.progress.done == 50)
    assert len(list(tmp_path.glob("*.png"))) == 50


@both_loops
async def test_one_job_of_a_run_waits_for_the_limit_so_a_single_call_is_behind_one_job(
    server: BillingServer, make_client: Callable[..., AsyncClient]
) -> None:
    client = make_client(server.base_url, rate_limit=RateLimit(5, per=0.5))
    async with client, client.images.fan_out(["run"] * 1000) as run:
        while run.progress.done < 5:
            await anext(run)
        before = len(server.asked)
        await client.images.generate("beside")
        assert "beside" in server.asked[before : before + 3]


@both_loops
async def test_stop_lets_sent_jobs_finish_and_cancels_the_job_that_waits_for_the_limit(
    server: BillingServer, make_client: Callable[..., AsyncClient]
) -> None:
    client = make_client(server.base_url, rate_limit=RateLimit(2))
    async with client, client.images.fan_out(["hold on"] * 10) as run:
        await until(lambda: server.held == 2)
        run.stop()
        server.released.set()
        outcomes = await run.collect()
    assert [outcome.status for outcome in outcomes] == ["done", "done"]
    assert run.progress.in_flight == 0
    assert len(server.asked) == 2


@both_loops
async def test_stop_ends_a_run_whose_next_job_never_comes(client: AsyncClient) -> None:
    async def prompts() -> AsyncGenerator[str, None]:
        yield "a"
        await anyio.sleep_forever()

    async with client, client.images.fan_out(prompts()) as run:
        assert (await anext(run)).status == "done"
        await anyio.to_thread.run_sync(run.stop)
        assert await run.collect() == []


@both_loops
async def test_leaving_the_block_early_cancels_the_rest(client: AsyncClient, server: BillingServer) -> None:
    async with client, client.images.fan_out(["hold on", *["a"] * 5], concurrency=2) as run:
        await anext(run)
    assert len(server.asked) <= 6
    async with client, client.images.fan_out(["b"]) as run:
        assert [outcome.status for outcome in await run.collect()] == ["done"]


@both_loops
async def test_an_exception_of_the_block_is_not_wrapped(client: AsyncClient, server: BillingServer) -> None:
    with pytest.raises(ZeroDivisionError) as caught:  # noqa: PT012
        async with client, client.images.fan_out(["hold on"] * 3):
            await wait_for(server.arrived)
            _ = 1 / 0
    assert caught.value.__context__ is None


@both_loops
async def test_a_run_can_be_cancelled_from_outside(client: AsyncClient, server: BillingServer) -> None:
    with anyio.move_on_after(30) as scope:
        async with client, client.images.fan_out(["hold on"] * 3) as run:
            await wait_for(server.arrived)
            scope.cancel()
            await run.collect()
    assert scope.cancelled_caught


async def test_progress_counts_the_outcomes_of_a_run(client: AsyncClient) -> None:
    async with client, client.images.fan_out(["a", "refuse", "break"]) as run:
        assert run.progress.total == 3
        await run.collect()
    progress = run.progress
    assert (progress.done, progress.refused, progress.unknown, progress.failed) == (1, 1, 1, 0)
    assert (progress.finished, progress.waiting, progress.images) == (3, 0, 1)


@pytest.mark.parametrize("concurrency", [0, -1, True, 1.5])
async def test_concurrency_must_be_a_positive_whole_number(client: AsyncClient, concurrency: Any) -> None:
    with pytest.raises(ConfigurationError, match="concurrency"):
        async with client, client.images.fan_out(["a"], concurrency=concurrency):
            pass


async def test_files_are_named_by_label_place_or_prompt(client: AsyncClient, tmp_path: Path) -> None:
    jobs: list[JobLike] = [Labelled("Nr. 1/2", "a river"), "a lake"]
    for folder, template in (("a", "{id}.{ext}"), ("b", "{job}-{slug}.{ext}")):
        async with client, client.images.fan_out(jobs, out=tmp_path / folder / template) as run:
            await run.collect()
    assert {path.name for path in tmp_path.glob("b/*.png")} == {"0-a-river.png", "1-a-lake.png"}
    names = {path.name for path in tmp_path.glob("a/*.png")}
    assert "nr-1-2.png" in names
    assert len(names) == 2


async def test_a_run_never_replaces_a_file_of_others(client: AsyncClient, tmp_path: Path) -> None:
    mine = tmp_path / "a.png"
    mine.write_bytes(b"mine")
    async with client, client.images.fan_out(["a", "a"], out=tmp_path / "{slug}.{ext}") as run:
        outcomes = await run.collect()
    assert mine.read_bytes() == b"mine"
    assert {outcome.unwrap()[0].path for outcome in outcomes} == {tmp_path / "a-2.png", tmp_path / "a-3.png"}


async def test_out_is_parsed_and_probed_once_a_run(
    client: AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Counter[str] = Counter()

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            calls[name] += 1
            return function(*args, **options)

        return call

    monkeypatch.setattr("imagesdk._media.output.create_temporary", counted("probe", create_temporary))
    monkeypatch.setattr(OutputTemplate, "parse", counted("parse", OutputTemplate.parse))
    async with client, client.images.fan_out([f"image {n}" for n in range(10)], out=tmp_path) as run:
        outcomes = await run.collect()
    assert [outcome.status for outcome in outcomes] == ["done"] * 10
    assert calls == {"probe": 1, "parse": 1}


async def test_a_job_for_several_images_needs_index_in_the_template(
    client: AsyncClient, server: BillingServer, tmp_path: Path
) -> None:
    jobs: list[JobLike] = [Generate("urls please", n=2), "a"]
    async with client, client.images.fan_out(jobs, out=tmp_path / "{id}.{ext}") as run:
        refused, done = await run.collect()
    assert (refused.status, done.status) == ("refused", "done")
    assert isinstance(refused.error, InvalidRequestError)
    assert refused.error.allowed == "a folder, or a template with {index}"
    assert server.asked == ["a"]


@pytest.mark.parametrize("out", ["cat.png", "cats/{index}.{ext}"])
async def test_out_must_not_give_the_images_of_all_jobs_one_name(
    client: AsyncClient, tmp_path: Path, out: str
) -> None:
    with pytest.raises(InvalidRequestError, match="same name"):
        async with client, client.images.fan_out(["a"], out=tmp_path / out):
            pass


def test_a_blocking_run_is_iterated_collected_watched_and_stopped(server: BillingServer) -> None:
    with Client(base_url=server.base_url, api_key="", rate_limit=None) as client:
        with client.images.fan_out(f"image {n}" for n in range(10)) as run:
            first = next(run)
            rest = run.collect()
            assert run.progress.done == 10
        assert first.status == "done"
        assert len(rest) == 9
        with client.images.fan_out(["hold on"] * 3, concurrency=1) as run:
            assert server.arrived.wait(10)
            run.stop()
            server.released.set()
            assert [outcome.status for outcome in run] == ["done"]


def test_a_blocking_run_can_be_collected_once(server: BillingServer) -> None:
    with Client(base_url=server.base_url, api_key="", rate_limit=None) as client:
        with client.images.fan_out(["a"]) as run:
            assert len(run.collect()) == 1
            with pytest.raises(RuntimeError, match="keep the list"):
                run.collect()


def test_an_exception_of_a_blocking_block_is_not_wrapped(server: BillingServer) -> None:
    with Client(base_url=server.base_url, api_key="", rate_limit=None) as client:
        with pytest.raises(ZeroDivisionError):  # noqa: PT012
            with client.images.fan_out(["hold on"] * 3):
                assert server.arrived.wait(10)
                _ = 1 / 0
        assert client.images.generate("a")[0].bytes
