"""Jobs of a run: their kinds, their labels, and the iterables that they come from."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Generator, Iterator
from typing import Any, cast

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest

from imagesdk import Client, Edit, Generate, InvalidRequestError, JobLike, Labelled, Variation
from tests.support.runs import Runs, statuses
from tests.support.small_images import png

pytestmark = pytest.mark.anyio
both_loops = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])


async def test_jobs_can_be_of_every_kind_and_have_labels(runs: Runs) -> None:
    edit = Labelled("other", Edit(png(), "an edit"))
    jobs: list[JobLike] = ["plain", Labelled("mine", "a prompt"), edit, Variation(png())]
    outcomes = await runs.all(jobs, defaults=Generate("", size="auto"))
    assert statuses(outcomes) == ["done"] * 4
    assert [outcome.id for outcome in outcomes[1:3]] == ["mine", "other"]
    assert outcomes[0].job == Generate("plain", size="auto")
    assert outcomes[2].job.size is None
    assert [outcome.prompt for outcome in outcomes] == ["plain", "a prompt", "an edit", None]
    assert len({outcome.id for outcome in outcomes}) == 4


@both_loops
async def test_jobs_can_come_from_an_async_generator(runs: Runs) -> None:
    async def prompts() -> AsyncGenerator[str, None]:
        for n in range(5):
            await anyio.lowlevel.checkpoint()
            yield f"image {n}"

    async with runs.begin(prompts()) as run:
        assert len(await run.collect()) == 5
        assert run.progress.total == 5


@both_loops
async def test_an_async_generator_that_is_not_read_to_its_end_is_closed(runs: Runs) -> None:
    ended = list[bool]()

    async def prompts() -> AsyncGenerator[str, None]:
        try:
            while True:
                yield "a"
        finally:
            await anyio.lowlevel.checkpoint()
            ended.append(True)

    async with runs.begin(prompts(), concurrency=1) as run:
        await anext(run)
    assert ended == [True]


@both_loops
async def test_an_iterable_that_is_not_read_to_its_end_is_closed_at_once_unless_it_is_the_callers(
    runs: Runs,
) -> None:
    ended = threading.Event()

    class Prompts:
        def __iter__(self) -> Generator[str, None, None]:
            try:
                while True:
                    yield "a"
            finally:
                ended.set()

    async with runs.begin(Prompts(), concurrency=1) as run:
        await anext(run)
    assert ended.is_set()

    ended.clear()
    of_the_caller = iter(Prompts())
    async with runs.begin(of_the_caller, concurrency=1) as run:
        await anext(run)
    assert not ended.is_set()
    assert next(of_the_caller) == "a"


@both_loops
async def test_an_iterable_that_blocks_past_the_end_of_the_run_is_closed_by_its_thread(runs: Runs) -> None:
    waits, release, ended = anyio.Event(), threading.Event(), threading.Event()

    class Prompts:
        def __iter__(self) -> Generator[str, None, None]:
            try:
                yield "a"
                anyio.from_thread.run_sync(waits.set)
                release.wait()
                yield "b"
            finally:
                ended.set()

    async with runs.begin(Prompts(), concurrency=2) as run:
        await anext(run)
        await waits.wait()
    assert not ended.is_set()
    release.set()
    assert await anyio.to_thread.run_sync(ended.wait, 10)


async def test_an_iterator_that_may_block_is_read_in_a_thread(runs: Runs) -> None:
    threads = set[int]()

    def prompts() -> Generator[str, None, None]:
        for n in range(5):
            threads.add(threading.get_ident())
            yield f"image {n}"

    assert len(await runs.all(prompts())) == 5
    assert threading.get_ident() not in threads


@both_loops
async def test_jobs_are_not_read_before_they_can_start(runs: Runs) -> None:
    read = 0

    def prompts() -> Generator[str, None, None]:
        nonlocal read
        while True:
            read += 1
            yield "hold on"

    async with runs.begin(prompts(), concurrency=3) as run:
        await anyio.to_thread.run_sync(runs.server.wait_until, lambda: runs.server.held == 3)
        assert read == 3
        assert run.progress.in_flight == 3
        assert run.progress.total is None
    assert runs.server.most_held == 3


@both_loops
async def test_an_exception_of_the_iterator_is_raised_after_the_last_outcome(runs: Runs) -> None:
    def prompts() -> Generator[str, None, None]:
        yield "a"
        raise LookupError("the table is gone")

    taken = list[str]()
    with pytest.raises(LookupError, match="the table is gone"):  # noqa: PT012
        async with runs.begin(prompts()) as run:
            async for outcome in run:
                taken.append(outcome.status)
    assert taken == ["done"]


@pytest.mark.parametrize("jobs", ["a cat", Generate("a cat"), Labelled("x", "a cat"), 5])
async def test_jobs_must_be_an_iterable(runs: Runs, jobs: Any) -> None:
    with pytest.raises(TypeError):
        await runs.all(jobs)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (5, "job is a int; allowed: Generate, Edit or Variation"),
        (None, "job is a NoneType"),
        (Labelled("x", cast("Any", 5)), "job is a int"),
        (Labelled("", "a"), "one line"),
        (Labelled("two\nlines", "a"), "one line"),
        (Labelled("x" * 201, "a"), "one line"),
        (Labelled(cast("Any", {}), "a"), "one line"),
    ],
)
async def test_a_thing_that_is_no_job_is_the_refusal_of_its_place_and_ends_no_other(
    runs: Runs, bad: Any, message: str
) -> None:
    outcomes = await runs.saved("a", bad, "b")
    assert statuses(outcomes) == ["done", "refused", "done"]
    assert outcomes[1].place == 1
    assert isinstance(outcomes[1].error, InvalidRequestError)
    assert message in str(outcomes[1].error)
    dry_run = await runs.client.images.dry_run(["a", bad, "b"])
    assert (dry_run.sent, [place for place, _ in dry_run.problems]) == (2, [1])


async def test_a_run_may_have_no_jobs(runs: Runs) -> None:
    async with runs.begin([]) as run:
        assert await run.collect() == []
    assert run.progress.seconds_left == 0


def test_jobs_may_come_from_calls_of_the_same_blocking_client(blocking_client: Client) -> None:
    def edits() -> Iterator[Edit]:
        for n in range(3):
            yield Edit(blocking_client.images.generate(f"image {n}")[0], f"edit {n}")

    with blocking_client.images.fan_out(edits()) as run:
        assert statuses(run.collect()) == ["done"] * 3
