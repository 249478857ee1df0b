"""Jobs of a run: their kinds, their labels, and the iterables that they come from."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Generator, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from imagesdk import AsyncClient, Client, Edit, Generate, InvalidRequestError, JobLike, Labelled, Variation
from tests.support.billing_server import BillingServer
from tests.support.runs import until, wait_for
from tests.support.small_images import png

pytestmark = pytest.mark.anyio
both_loops = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])


async def test_jobs_can_be_of_every_kind_and_have_labels(client: AsyncClient, server: BillingServer) -> None:
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


@both_loops
async def test_jobs_can_come_from_an_async_generator(client: AsyncClient) -> None:
    async def prompts() -> AsyncGenerator[str, None]:
        for n in range(5):
            await anyio.lowlevel.checkpoint()
            yield f"image {n}"

    async with client, client.images.fan_out(prompts()) as run:
        assert len(await run.collect()) == 5
        assert run.progress.total == 5


@both_loops
async def test_an_async_generator_that_is_not_read_to_its_end_is_closed(client: AsyncClient) -> None:
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


async def test_an_iterator_that_may_block_is_read_in_a_thread(client: AsyncClient) -> None:
    threads = set[int]()

    def prompts() -> Generator[str, None, None]:
        for n in range(5):
            threads.add(threading.get_ident())
            yield f"image {n}"

    async with client, client.images.fan_out(prompts()) as run:
        assert len(await run.collect()) == 5
    assert threading.get_ident() not in threads


@both_loops
async def test_jobs_are_not_read_before_they_can_start(client: AsyncClient, server: BillingServer) -> None:
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


@both_loops
async def test_an_exception_of_the_iterator_is_raised_after_the_last_outcome(client: AsyncClient) -> None:
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
async def test_a_single_job_is_a_type_error(client: AsyncClient, jobs: Any) -> None:
    with pytest.raises(TypeError, match="several jobs"):
        async with client, client.images.fan_out(jobs):
            pass


async def test_a_value_that_is_not_a_job_ends_the_run(client: AsyncClient) -> None:
    nonsense: Any = ["a", 5]
    with pytest.raises(TypeError, match=r"job 1 .* is a int"):
        async with client, client.images.fan_out(nonsense) as run:
            await run.collect()


@pytest.mark.parametrize("label", ["", "two\nlines", "x" * 201])
async def test_a_label_must_be_one_line_of_at_most_200_characters(client: AsyncClient, label: str) -> None:
    with pytest.raises(InvalidRequestError, match="one line"):
        async with client, client.images.fan_out([Labelled(label, "a")]) as run:
            await run.collect()


async def test_a_run_may_have_no_jobs(client: AsyncClient) -> None:
    async with client, client.images.fan_out([]) as run:
        assert await run.collect() == []
    assert run.progress.seconds_left == 0


def test_jobs_may_come_from_calls_of_the_same_blocking_client(server: BillingServer) -> None:
    with Client(base_url=server.base_url, api_key="", rate_limit=None) as client:

        def edits() -> Iterator[Edit]:
            for n in range(3):
                yield Edit(client.images.generate(f"image {n}")[0], f"edit {n}")

        with client.images.fan_out(edits()) as run:
            assert [outcome.status for outcome in run.collect()] == ["done"] * 3
