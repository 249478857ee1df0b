"""A Redis that is flushed, or killed and started anew without its data, while a job is under way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from imagesdk import AsyncClient, Outcome
from tests.support.billing_server import BillingServer
from tests.support.redis_servers import RedisServer

pytestmark = [pytest.mark.anyio, pytest.mark.redis]


def flush(redis: RedisServer) -> None:
    with redis.client() as client:
        client.flushall()


def restart(redis: RedisServer) -> None:
    redis.stop()
    redis.start()


@pytest.mark.parametrize("lose", [flush, restart])
async def test_a_job_under_way_is_recorded_although_the_store_has_lost_its_claim(
    server: BillingServer,
    make_client: Callable[..., AsyncClient],
    tmp_path: Path,
    lose: Callable[[RedisServer], None],
) -> None:
    outcomes: list[Outcome] = []
    with RedisServer(tmp_path) as redis:

        async def lose_all() -> None:
            await anyio.to_thread.run_sync(server.arrived.wait, abandon_on_cancel=True)
            lose(redis)
            server.released.set()

        async with make_client(server.base_url, shared=redis.url) as client:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lose_all)
                outcomes.append(await client.images.once("hold this", out=tmp_path / "out"))
            outcomes.append(await client.images.once("hold this", out=tmp_path / "out"))
    assert [outcome.status for outcome in outcomes] == ["done", "done"]
    assert [outcome.resumed for outcome in outcomes] == [False, True]
    assert outcomes[0].unrecorded is None
    assert server.billed == {"hold this": 1}
