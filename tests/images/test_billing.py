"""Billing and the rate limit of single calls, against servers on a real socket."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from imagesdk import (
    APIError,
    AsyncClient,
    Generate,
    LimitWaitError,
    PartialImage,
    RateLimit,
    RetryPolicy,
    estimate,
)
from imagesdk.emulator import Emulator
from tests.support.small_images import answer, png
from tests.support.socket_servers import always, in_turn, says, serving

pytestmark = pytest.mark.anyio
MakeClient = Callable[..., AsyncClient]
SMALL = png()
ONCE = RetryPolicy(max_attempts=1)
DALLE: dict[str, Any] = {"model": "dall-e-2", "size": "256x256"}
SUNBURST: dict[str, Any] = {"model": "gpt-image-2.5-sunburst", "quality": "low", "size": "1024x1024"}


async def generate(client: AsyncClient, n: int = 1) -> None:
    await client.images.generate("a cat", n=n, **DALLE)


async def test_every_image_is_billed_once(client: AsyncClient, emulator: Emulator) -> None:
    made = await client.images.generate("a white siamese cat", n=2, **DALLE, response_format="b64_json")
    edited = await client.images.edit(made[0].bytes, "a black cat", mask=png(256, 256), **DALLE)
    varied = await client.images.create_variation(made[1].bytes, **DALLE, response_format="b64_json")
    assert [image.to_pil().size for image in made] == [(256, 256)] * 2
    assert made[0].bytes != made[1].bytes
    assert edited[0].url is not None
    assert varied[0].width == 256
    assert emulator.state.billed_images == 4
    assert made.request_id is not None
    assert made.headers["openai-version"] == "2020-10-01"


async def test_the_estimate_is_the_cost(client: AsyncClient) -> None:
    job = Generate("a river", n=2, **SUNBURST)
    response = await client.images.send(job)
    estimated = estimate(job)
    assert response.cost is not None
    assert estimated.cost is not None
    assert estimated.output_tokens == 2 * 196
    assert abs(response.cost - estimated.cost) < Decimal("0.001")


async def test_a_refused_request_counts_against_the_limit_and_an_unsent_one_does_not(
    make_client: MakeClient,
) -> None:
    async with (
        serving(in_turn(says(b"", 400), says(answer(SMALL)))) as server,
        make_client(server.base_url, rate_limit=RateLimit(2)) as client,
    ):
        with pytest.raises(FileNotFoundError):
            await client.images.edit("missing.png", "a cat", n=2)
        with pytest.raises(APIError):
            await client.images.generate("a cat")
        await client.images.generate("a cat")
        with pytest.raises(LimitWaitError):
            await client.images.generate("a cat", timeout=5)


async def test_calls_queue_for_the_limit_instead_of_failing_with_429(make_client: MakeClient) -> None:
    with Emulator(limit="4/s") as emulator:
        async with (
            make_client(emulator.base_url, rate_limit=RateLimit(4, per=1.5)) as client,
            anyio.create_task_group() as tasks,
        ):
            for _ in range(3):
                tasks.start_soon(generate, client, 2)
        assert [record.status for record in emulator.state.requests] == [200] * 3
        assert emulator.state.billed_images == 6


async def test_calls_are_sent_in_the_order_of_their_start(make_client: MakeClient) -> None:
    limit = RateLimit(1, per=0.05)
    async with serving(always(answer(SMALL))) as server:
        async with (
            make_client(server.base_url, rate_limit=limit) as client,
            anyio.create_task_group() as tasks,
        ):
            for number in range(6):
                tasks.start_soon(client.images.generate, f"cat {number}")
                for _ in range(5):
                    await anyio.lowlevel.checkpoint()

        prompts = [json.loads(sent.body)["prompt"] for sent in server.requests]
        assert prompts == [f"cat {number}" for number in range(6)]


async def test_streams_and_calls_share_one_queue(make_client: MakeClient) -> None:
    with Emulator(limit="2/1s") as emulator:
        limit = RateLimit(2, per=1, scope="client")
        async with make_client(emulator.base_url, rate_limit=limit) as client:
            for _ in range(2):
                await client.images.generate("a cat", **SUNBURST)
                async with client.images.generate_stream("a cat", **SUNBURST) as stream:
                    await stream.final()
        statuses = [request.status for request in emulator.state.requests]
        assert statuses == [200] * 4


async def test_a_time_out_that_the_limit_cannot_meet_is_an_error_at_once(make_client: MakeClient) -> None:
    async with serving(always(answer(SMALL))) as server:
        async with make_client(server.base_url, rate_limit=RateLimit(1)) as client:
            await client.images.generate("a cat")
            with pytest.raises(LimitWaitError, match="Nothing was sent") as caught:
                await client.images.generate("a cat", timeout=5)
        assert len(server.requests) == 1
    assert caught.value.retry_after is not None
    assert 5 < caught.value.retry_after < 61
    assert (caught.value.attempts, caught.value.maybe_billed) == (0, False)


async def test_clients_of_one_account_share_the_limit_and_others_do_not(make_client: MakeClient) -> None:
    async with serving(always(answer(SMALL))) as server:

        async def fits(model: str | None = None, scope: str = "account", **terms: Any) -> bool:
            limit = RateLimit(1, scope=scope)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
            async with make_client(server.base_url, rate_limit=limit, **terms) as client:
                try:
                    await client.images.generate("a cat", model=model, timeout=5)
                except LimitWaitError:
                    return False
            return True

        assert await fits(api_key="sk-1")
        assert not await fits(api_key="sk-1")
        assert await fits(api_key="sk-2")
        assert await fits(api_key="sk-1", model="another")
        assert await fits(api_key="sk-1", project="another")
        assert await fits(api_key="sk-1", scope="client")
        assert await fits(api_key="sk-1", scope="client")


def test_loops_and_threads_share_the_limit(emulator: Emulator, make_client: MakeClient) -> None:
    ends: list[str] = []

    async def call() -> None:
        async with make_client(emulator.base_url, rate_limit=RateLimit(3)) as client:
            try:
                await client.images.generate("a cat", **DALLE, timeout=20)
            except LimitWaitError:
                ends.append("no room")
            else:
                ends.append("well")

    threads = [
        threading.Thread(target=anyio.run, args=(call,), kwargs={"backend": backend})
        for backend in ("asyncio", "trio") * 3
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(ends) == ["no room"] * 3 + ["well"] * 3
    assert emulator.state.billed_images == 3


async def test_partial_images_are_billed(emulator: Emulator, client: AsyncClient, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    async with client.images.generate_stream("a river", partial_images=3, out=path, **SUNBURST) as stream:
        partials = [event async for event in stream if isinstance(event, PartialImage)]
        response = await stream.final()
    assert len(partials) == 3
    assert response[0].path == path
    assert response.usage is not None
    assert response.usage.output_tokens == 196 + 3 * 100
    assert response.cost is not None
