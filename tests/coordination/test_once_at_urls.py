"""``client.images.once`` with files at URLs, which another machine finds again."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from imagesdk import AsyncClient
from tests.support.billing_server import BillingServer
from tests.support.file_systems import Lab

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(
    server: BillingServer, make_client: Callable[..., AsyncClient], tmp_path: Path
) -> AsyncIterator[AsyncClient]:
    async with make_client(server.base_url, shared=f"sqlite:///{tmp_path}/ledger.db") as client:
        yield client


async def test_the_outcome_has_the_url_and_the_job_is_not_sent_again(
    client: AsyncClient, server: BillingServer, lab: Lab, tmp_path: Path
) -> None:
    first = await client.images.once("a cat", key="cover", out="lab://me:hunter2@b/covers/")
    again = await client.images.once("a cat", key="cover", out="lab://me:hunter2@b/covers/")
    assert first.unwrap()[0].location == again.unwrap()[0].location == "lab://me@b/covers/cover-0.png"
    assert again.resumed
    assert again.unwrap()[0].bytes == next(iter(lab.content().values()))
    assert server.billed == {"a cat": 1}
    assert b"hunter2" not in b"".join(path.read_bytes() for path in tmp_path.glob("ledger.db*"))


async def test_a_file_of_another_program_is_not_replaced(client: AsyncClient, lab: Lab) -> None:
    lab.put("b/cover-0.png", b"of another program")
    outcome = await client.images.once("a cat", key="cover", out="lab://b/")
    assert outcome.unwrap()[0].location == "lab://b/cover-0-2.png"
    assert lab.content()["b/cover-0.png"] == b"of another program"


async def test_a_folder_that_cannot_be_written_to_is_an_outcome_before_anything_is_sent(
    client: AsyncClient, server: BillingServer, lab: Lab
) -> None:
    lab.problem = PermissionError("Access Denied")
    outcome = await client.images.once("a cat", out="lab://b/")
    assert (outcome.status, server.asked) == ("failed", [])
    assert "lab://b" in str(outcome.error)
    lab.problem = None
    assert (await client.images.once("a cat", out="lab://b/")).status == "done"


async def test_an_image_that_was_received_is_uploaded_by_the_next_call(
    client: AsyncClient, server: BillingServer, lab: Lab
) -> None:
    lab.held = threading.Event()
    async with anyio.create_task_group() as tasks:

        async def call() -> None:
            await client.images.once("a cat", key="cover", out="lab://b/")

        tasks.start_soon(call)
        await anyio.to_thread.run_sync(lab.writing.wait, 10)
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            for _ in range(10):  # rounds of the event loop, which delivers the cancellation
                await anyio.lowlevel.checkpoint()
        lab.held.set()
    assert lab.content() == {}
    outcome = await client.images.once("a cat", key="cover", out="lab://b/")
    assert (outcome.status, outcome.resumed) == ("done", True)
    assert list(lab.content()) == ["b/cover-0.png"]
    assert server.billed == {"a cat": 1}
