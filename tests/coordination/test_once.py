"""``client.images.once`` against a server that counts what it bills."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from imagesdk import AsyncClient, ConfigurationError, Generate, InvalidRequestError, Outcome
from tests.support.billing_server import BillingServer, billing_server

pytestmark = pytest.mark.anyio


@pytest.fixture
def server() -> Iterator[BillingServer]:
    with billing_server() as server:
        yield server


@pytest.fixture
async def client(
    server: BillingServer, make_client: Callable[..., AsyncClient], tmp_path: Path
) -> AsyncIterator[AsyncClient]:
    async with make_client(server.base_url, shared=f"sqlite:///{tmp_path}/ledger.db") as client:
        yield client


@pytest.fixture
def once(client: AsyncClient, tmp_path: Path) -> Callable[..., Any]:
    async def once(prompt: str, **options: Any) -> Outcome:
        return await client.images.once(Generate(prompt), **{"out": tmp_path / "out", **options})

    return once


async def test_a_finished_job_is_not_sent_again(server: BillingServer, once: Callable[..., Any]) -> None:
    first, second = await once("a cat"), await once("a cat")
    assert (first.status, first.resumed, first.attempts) == ("done", False, 1)
    assert (second.status, second.resumed, second.attempts) == ("done", True, 0)
    assert second.unwrap()[0].path == first.unwrap()[0].path
    assert second.cost == first.cost
    assert server.billed == {"a cat": 1}


async def test_many_calls_at_once_send_a_job_once(server: BillingServer, once: Callable[..., Any]) -> None:
    outcomes: list[Outcome] = []

    async def call() -> None:
        outcomes.append(await once("a cat"))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(call)
    assert server.billed == {"a cat": 1}
    assert {outcome.status for outcome in outcomes} == {"done"}
    assert sum(not outcome.resumed for outcome in outcomes) == 1


async def test_a_key_of_another_job_is_refused_before_anything_is_sent(
    server: BillingServer, once: Callable[..., Any]
) -> None:
    await once("a cat", key="cover 1")
    outcome = await once("a dog", key="cover 1")
    assert outcome.status == "refused"
    assert isinstance(outcome.error, InvalidRequestError)
    assert "'cover 1' belongs to another job" in str(outcome.error)
    assert server.asked == ["a cat"]


async def test_a_client_without_a_store_says_what_to_set(make_client: Callable[..., AsyncClient]) -> None:
    client = make_client("https://images.test/v1")
    with pytest.raises(ConfigurationError, match="IMAGESDK_SHARED"):
        await client.images.once(Generate("a cat"))
