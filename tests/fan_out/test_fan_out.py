"""Runs of many jobs as a user meets them: outcomes, back-pressure, stopping, and what leaves the block."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
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
    Variation,
)
from imagesdk.fan_out.scheduler import AHEAD
from tests.support.billing_server import Till, till
from tests.support.small_images import png

pytestmark = pytest.mark.anyio


@pytest.fixture
def server() -> Iterator[Till]:
    with till() as server:
        yield server


@pytest.fixture
def client(server: Till, make_client: Callable[..., AsyncClient]) -> AsyncClient:
    return make_client(server.base_url)


async def wait_for(event: threading.Event) -> None:
    assert await anyio.to_thread.run_sync(event.wait, 10)


async def until(condition: Callable[[], object]) -> None:
    """Return when something is so that another task, or the server's thread, makes so."""
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await anyio.sleep(0.001)


class TestOutcomes:
    async def test_come_as_jobs_finish_and_a_slow_job_holds_up_no_other(
        self, client: AsyncClient, server: Till
    ) -> None:
        async with client, client.images.fan_out(["hold on", "a", "b"]) as run:
            first = [await anext(run), await anext(run)]
            server.released.set()
            last = await anext(run)
        assert {outcome.place for outcome in first} == {1, 2}
        assert last.place == 0

    async def test_are_collected_in_the_order_of_the_jobs(self, client: AsyncClient) -> None:
        async with client, client.images.fan_out([f"picture {n}" for n in range(20)]) as run:
            outcomes = await run.collect()
        assert [outcome.job for outcome in outcomes] == [Generate(f"picture {n}") for n in range(20)]
        assert all(outcome.unwrap()[0].bytes for outcome in outcomes)

    async def test_of_jobs_that_fail_say_why_and_the_others_are_done(
        self, client: AsyncClient, server: Till
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

    async def test_of_what_the_rules_refuse_cost_nothing(self, client: AsyncClient, server: Till) -> None:
        jobs: list[JobLike] = [Generate("b", model="dall-e-3", n=2), "a"]
        async with client, client.images.fan_out(jobs) as run:
            refused, done = await run.collect()
        assert (refused.status, done.status) == ("refused", "done")
        assert isinstance(refused.error, InvalidRequestError)
        assert server.asked == ["a"]

    async def test_of_a_picture_that_cannot_be_read_is_the_error_of_the_file(
        self, client: AsyncClient, tmp_path: Path
    ) -> None:
        async with client, client.images.fan_out([Edit(tmp_path / "none.png", "a pool"), "a"]) as run:
            failed, done = await run.collect()
        assert (failed.status, done.status) == ("failed", "done")
        assert isinstance(failed.error, FileNotFoundError)

    async def test_are_repeated_until_they_are_there_when_the_run_says_so(
        self, client: AsyncClient, server: Till
    ) -> None:
        jobs = ["spoil 1 me", "spoil 4 me", "break me"]
        async with client, client.images.fan_out(jobs, delivery="at_least_once") as run:
            outcomes = await run.collect()
        assert [outcome.status for outcome in outcomes] == ["done", "done", "unknown"]
        assert [outcome.attempts for outcome in outcomes] == [2, 5, 10]
        assert [server.billed[job] for job in jobs] == [2, 5, 10]
        assert all(len(set(server.keys[job])) == 1 for job in jobs)

    async def test_are_not_repeated_though_the_client_would(
        self, make_client: Callable[..., AsyncClient], server: Till
    ) -> None:
        eager = make_client(server.base_url, retry=RetryPolicy(max_attempts=20, max_ambiguous=20, backoff=0))
        async with eager, eager.images.fan_out(["break me"]) as run:
            [outcome] = await run.collect()
        assert (outcome.status, outcome.attempts, server.billed["break me"]) == ("unknown", 1, 1)

    async def test_hold_pictures_that_the_server_kept(self, client: AsyncClient, server: Till) -> None:
        async with client, client.images.fan_out(["url please"]) as run:
            [outcome] = await run.collect()
        assert outcome.unwrap()[0].bytes == png(2, 2)
        assert outcome.unwrap()[0].url

    async def test_tell_of_a_picture_that_cannot_be_fetched_and_nothing_is_generated_again(
        self, client: AsyncClient, server: Till, tmp_path: Path
    ) -> None:
        server.broken_downloads = True
        async with client, client.images.fan_out(["url please"], out=tmp_path) as run:
            [outcome] = await run.collect()
        assert outcome.status == "failed"
        assert isinstance(outcome.error, DownloadError)
        assert server.billed["url please"] == 1


class TestJobs:
    async def test_can_be_of_every_kind_and_have_names(self, client: AsyncClient, server: Till) -> None:
        jobs: list[JobLike] = [
            "plain",
            Labelled("mine", "a prompt"),
            Labelled("other", Edit(png(), "an edit")),
            Variation(png()),
        ]
        async with client, client.images.fan_out(jobs, defaults=Generate("", size="auto")) as run:
            outcomes = await run.collect()
        assert [outcome.status for outcome in outcomes] == ["done"] * 4
        assert [outcome.id for outcome in outcomes[1:3]] == ["mine", "other"]
        assert outcomes[0].job == Generate("plain", size="auto")
        assert outcomes[2].job.size is None
        assert [outcome.prompt for outcome in outcomes] == ["plain", "a prompt", "an edit", None]
        assert len({outcome.id for outcome in outcomes}) == 4

    async def test_can_come_from_an_async_generator(self, client: AsyncClient) -> None:
        async def prompts() -> AsyncGenerator[str, None]:
            for n in range(5):
                await anyio.lowlevel.checkpoint()
                yield f"picture {n}"

        async with client, client.images.fan_out(prompts()) as run:
            assert len(await run.collect()) == 5
            assert run.progress.total == 5

    async def test_of_an_async_generator_that_is_not_read_to_its_end_let_it_clear_up(
        self, client: AsyncClient
    ) -> None:
        ended = list[bool]()

        async def prompts() -> AsyncGenerator[str, None]:
            try:
                while True:
                    yield "a"
            finally:
                await anyio.lowlevel.checkpoint()
                ended.append(True)

        async with client, client.images.fan_out(prompts(), concurrency=1) as run:
            await anext(run)
        assert ended == [True]

    async def test_are_read_in_a_thread_when_reading_may_block(self, client: AsyncClient) -> None:
        threads = set[int]()

        def prompts() -> Generator[str, None, None]:
            for n in range(5):
                threads.add(threading.get_ident())
                yield f"picture {n}"

        async with client, client.images.fan_out(prompts()) as run:
            assert len(await run.collect()) == 5
        assert threading.get_ident() not in threads

    async def test_are_not_read_before_there_is_room_for_them(
        self, client: AsyncClient, server: Till
    ) -> None:
        read = 0

        def prompts() -> Generator[str, None, None]:
            nonlocal read
            while True:
                read += 1
                yield "hold on"

        async with client, client.images.fan_out(prompts(), concurrency=3) as run:
            await wait_for(server.arrived)
            await until(lambda: server.held == 3)
            assert read == 3
            assert run.progress.in_flight == 3
            assert run.progress.total is None
        assert server.most_held == 3

    async def test_that_raise_end_the_run_after_the_outcomes_before(self, client: AsyncClient) -> None:
        def prompts() -> Generator[str, None, None]:
            yield "a"
            raise LookupError("the table is gone")

        taken = list[str]()
        with pytest.raises(LookupError, match="the table is gone"):  # noqa: PT012
            async with client, client.images.fan_out(prompts()) as run:
                async for outcome in run:
                    taken.append(outcome.status)
        assert taken == ["done"]

    @pytest.mark.parametrize("jobs", ["a cat", Generate("a cat"), Labelled("x", "a cat")])
    async def test_must_be_several(self, client: AsyncClient, jobs: Any) -> None:
        with pytest.raises(TypeError, match="several jobs"):
            async with client, client.images.fan_out(jobs):
                pass

    async def test_that_are_none_end_the_run(self, client: AsyncClient) -> None:
        nonsense: Any = ["a", 5]
        with pytest.raises(TypeError, match=r"job 1 .* is a int"):
            async with client, client.images.fan_out(nonsense) as run:
                await run.collect()

    @pytest.mark.parametrize("label", ["", "two\nlines", "x" * 201])
    async def test_cannot_have_every_name(self, client: AsyncClient, label: str) -> None:
        with pytest.raises(InvalidRequestError, match="one line"):
            async with client, client.images.fan_out([Labelled(label, "a")]) as run:
                await run.collect()

    async def test_may_be_none(self, client: AsyncClient) -> None:
        async with client, client.images.fan_out([]) as run:
            assert await run.collect() == []
        assert run.progress.seconds_left == 0


class TestARun:
    async def test_is_collected_once_and_says_so_the_second_time(self, client: AsyncClient) -> None:
        async with client, client.images.fan_out(["a", "b"]) as run:
            await anext(run)
            assert len(await run.collect()) == 1
            with pytest.raises(RuntimeError, match="keep the list"):
                await run.collect()
            assert [outcome async for outcome in run] == []

    async def test_holds_back_new_jobs_while_nobody_takes_pictures_in_memory(
        self, client: AsyncClient, server: Till
    ) -> None:
        async with client, client.images.fan_out(["a"] * 100, concurrency=1) as run:
            await until(lambda: run.progress.done == AHEAD)
            await anyio.wait_all_tasks_blocked()
            assert len(server.asked) == AHEAD
            await anext(run)
            await until(lambda: run.progress.done == AHEAD + 1)
            assert len(server.asked) == AHEAD + 1

    async def test_goes_on_without_being_looked_at_when_pictures_go_to_files(
        self, client: AsyncClient, tmp_path: Path
    ) -> None:
        async with client, client.images.fan_out(["a"] * 50, out=tmp_path) as run:
            await until(lambda: run.progress.done == 50)
        assert len(list(tmp_path.glob("*.png"))) == 50

    async def test_has_one_job_waiting_for_the_limit_so_that_a_call_beside_it_waits_for_one(
        self, server: Till, make_client: Callable[..., AsyncClient]
    ) -> None:
        client = make_client(server.base_url, rate_limit=RateLimit(5, per=0.5))
        async with client, client.images.fan_out(["run"] * 1000) as run:
            while run.progress.done < 5:
                await anext(run)
            before = len(server.asked)
            await client.images.generate("beside")
            assert "beside" in server.asked[before : before + 3]

    async def test_stops_when_told_lets_what_was_sent_finish_and_gives_up_the_wait(
        self, server: Till, make_client: Callable[..., AsyncClient]
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

    async def test_stops_though_the_next_job_is_never_read(self, client: AsyncClient) -> None:
        async def prompts() -> AsyncGenerator[str, None]:
            yield "a"
            await anyio.sleep_forever()

        async with client, client.images.fan_out(prompts()) as run:
            assert (await anext(run)).status == "done"
            await anyio.to_thread.run_sync(run.stop)
            assert await run.collect() == []

    async def test_that_is_left_early_gives_up_the_rest(self, client: AsyncClient, server: Till) -> None:
        async with client, client.images.fan_out(["hold on", *["a"] * 5], concurrency=2) as run:
            await anext(run)
        assert len(server.asked) <= 6
        async with client, client.images.fan_out(["b"]) as run:
            assert [outcome.status for outcome in await run.collect()] == ["done"]

    async def test_lets_an_exception_of_the_block_out_as_itself(
        self, client: AsyncClient, server: Till
    ) -> None:
        with pytest.raises(ZeroDivisionError) as caught:  # noqa: PT012
            async with client, client.images.fan_out(["hold on"] * 3):
                await wait_for(server.arrived)
                _ = 1 / 0
        assert caught.value.__context__ is None

    async def test_can_be_cancelled_from_outside(self, client: AsyncClient, server: Till) -> None:
        with anyio.move_on_after(30) as scope:
            async with client, client.images.fan_out(["hold on"] * 3) as run:
                await wait_for(server.arrived)
                scope.cancel()
                await run.collect()
        assert scope.cancelled_caught

    async def test_counts_what_it_has_done(self, client: AsyncClient) -> None:
        async with client, client.images.fan_out(["a", "refuse", "break"]) as run:
            assert run.progress.total == 3
            await run.collect()
        progress = run.progress
        assert (progress.done, progress.refused, progress.unknown, progress.failed) == (1, 1, 1, 0)
        assert (progress.finished, progress.waiting, progress.images) == (3, 0, 1)

    @pytest.mark.parametrize("concurrency", [0, -1, True, 1.5])
    async def test_needs_a_whole_number_for_its_concurrency(
        self, client: AsyncClient, concurrency: Any
    ) -> None:
        with pytest.raises(ConfigurationError, match="concurrency"):
            async with client, client.images.fan_out(["a"], concurrency=concurrency):
                pass


class TestFiles:
    async def test_are_named_for_the_label_the_place_or_the_prompt(
        self, client: AsyncClient, tmp_path: Path
    ) -> None:
        jobs: list[JobLike] = [Labelled("Nr. 1/2", "a river"), "a lake"]
        for folder, template in (("a", "{id}.{ext}"), ("b", "{job}-{slug}.{ext}")):
            async with client, client.images.fan_out(jobs, out=tmp_path / folder / template) as run:
                await run.collect()
        assert {path.name for path in tmp_path.glob("b/*.png")} == {"0-a-river.png", "1-a-lake.png"}
        names = {path.name for path in tmp_path.glob("a/*.png")}
        assert "nr-1-2.png" in names
        assert len(names) == 2

    async def test_of_others_are_never_replaced(self, client: AsyncClient, tmp_path: Path) -> None:
        mine = tmp_path / "a.png"
        mine.write_bytes(b"mine")
        async with client, client.images.fan_out(["a", "a"], out=tmp_path / "{slug}.{ext}") as run:
            outcomes = await run.collect()
        assert mine.read_bytes() == b"mine"
        assert {outcome.unwrap()[0].path for outcome in outcomes} == {
            tmp_path / "a-2.png",
            tmp_path / "a-3.png",
        }

    @pytest.mark.parametrize("out", ["cat.png", "cats/{index}.{ext}"])
    async def test_must_not_all_have_one_name(self, client: AsyncClient, tmp_path: Path, out: str) -> None:
        with pytest.raises(InvalidRequestError, match="same name"):
            async with client, client.images.fan_out(["a"], out=tmp_path / out):
                pass


class TestInBlockingCode:
    def test_a_run_is_iterated_collected_watched_and_stopped(self, server: Till) -> None:
        with Client(base_url=server.base_url, api_key="", rate_limit=None) as client:
            with client.images.fan_out(f"picture {n}" for n in range(10)) as run:
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

    def test_a_run_is_collected_once(self, server: Till) -> None:
        with Client(base_url=server.base_url, api_key="", rate_limit=None) as client:
            with client.images.fan_out(["a"]) as run:
                assert len(run.collect()) == 1
                with pytest.raises(RuntimeError, match="keep the list"):
                    run.collect()

    def test_an_exception_of_the_block_leaves_as_itself(self, server: Till) -> None:
        with Client(base_url=server.base_url, api_key="", rate_limit=None) as client:
            with pytest.raises(ZeroDivisionError):  # noqa: PT012
                with client.images.fan_out(["hold on"] * 3):
                    assert server.arrived.wait(10)
                    _ = 1 / 0
            assert client.images.generate("a")[0].bytes

    def test_jobs_may_be_made_by_calls_of_the_same_client(self, server: Till) -> None:
        with Client(base_url=server.base_url, api_key="", rate_limit=None) as client:

            def edits() -> Iterator[Edit]:
                for n in range(3):
                    yield Edit(client.images.generate(f"picture {n}")[0], f"edit {n}")

            with client.images.fan_out(edits()) as run:
                assert [outcome.status for outcome in run.collect()] == ["done"] * 3
