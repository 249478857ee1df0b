"""Clients that share a limit, on both event loops and none, in children of a fork and at the exit of a process."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import base64
import json
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import anyio
import httpx
import pytest

from imagesdk import (
    AsyncClient,
    Client,
    CoordinationError,
    Generate,
    OutcomeUnknownError,
    RateLimit,
    RetryPolicy,
    SharedStore,
)
from imagesdk._coordination.store_thread import PROCESS_THREADS, StoreThread
from tests.support.small_images import JPEG as IMAGE

pytestmark = pytest.mark.anyio

ANSWER = {"created": 1, "data": [{"b64_json": base64.b64encode(IMAGE).decode()}]}
LIMIT = RateLimit(3, per=0.5)


def answering(requests: list[float], status: int = 200) -> httpx.AsyncClient:
    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(time.monotonic())
        return httpx.Response(status, json=ANSWER)

    return httpx.AsyncClient(transport=httpx.MockTransport(answer))


def most_in_a_window(times: list[float], per: float) -> int:
    return max(sum(start <= at < start + per for at in times) for start in times)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'shared.sqlite'}"


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_two_stores_of_one_file_share_the_limit(url: str) -> None:
    """Different policies for a loss are different owners, as two processes would be."""
    sent: list[float] = []
    one = AsyncClient(
        api_key="sk-1", shared=SharedStore(url), rate_limit=LIMIT, http_client=lambda: answering(sent)
    )
    other = AsyncClient(
        api_key="sk-1",
        shared=SharedStore(url, on_store_loss="local_share"),
        rate_limit=LIMIT,
        http_client=lambda: answering(sent),
    )
    async with one, other, anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon((one, other)[number % 2].images.generate, "a cat")
    assert len(sent) == 8
    assert most_in_a_window(sent, LIMIT.per) <= LIMIT.images
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        ((document,),) = connection.execute("SELECT document FROM documents").fetchall()
    assert len(json.loads(document)["owners"]) == 2
    assert "sk-1" not in document
    assert "cat" not in document


def test_a_blocking_client_uses_the_store_and_a_run_does(url: str) -> None:
    sent: list[float] = []
    with Client(api_key="sk-2", shared=url, rate_limit=LIMIT, http_client=lambda: answering(sent)) as client:
        assert client.images.generate("a cat")[0].width
        with client.images.fan_out([Generate(f"cat {number}") for number in range(5)]) as run:
            outcomes = list(run)
    assert [outcome.status for outcome in outcomes] == ["done"] * 5
    assert most_in_a_window(sent, LIMIT.per) <= LIMIT.images
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        assert connection.execute("SELECT count(*) FROM documents").fetchone() == (1,)


async def test_no_limit_and_a_limit_of_the_client_alone_need_no_store(tmp_path: Path) -> None:
    sent: list[float] = []
    nowhere = f"sqlite:///{tmp_path / 'no' / 'folder.sqlite'}"
    for limit in (None, RateLimit(5, scope="client")):
        async with AsyncClient(
            api_key="sk-3", shared=nowhere, rate_limit=limit, http_client=lambda: answering(sent)
        ) as client:
            await client.images.generate("a cat")
    assert len(sent) == 2


async def test_a_file_that_cannot_be_used_raises_before_anything_is_sent(tmp_path: Path) -> None:
    sent: list[float] = []
    nowhere = f"sqlite:///{tmp_path / 'no' / 'folder.sqlite'}"
    async with AsyncClient(
        api_key="sk-4", shared=nowhere, rate_limit=LIMIT, http_client=lambda: answering(sent)
    ) as client:
        with pytest.raises(CoordinationError, match=r"folder\.sqlite' cannot be used: unable to open"):
            await client.images.generate("a cat")
    assert sent == []


def test_a_run_ends_when_the_store_cannot_be_used_and_continues_later(tmp_path: Path) -> None:
    sent: list[float] = []
    folder = tmp_path / "later"
    jobs = [Generate(f"cat {number}") for number in range(3)]
    with Client(
        api_key="sk-5",
        shared=f"sqlite:///{folder / 'shared.sqlite'}",
        rate_limit=LIMIT,
        http_client=lambda: answering(sent),
    ) as client:
        with pytest.raises(CoordinationError, match="unable to open"):
            with client.images.fan_out(jobs, out=tmp_path / "out") as run:
                assert list(run) == []
        assert sent == []
        folder.mkdir()
        with client.images.fan_out(jobs, out=tmp_path / "out") as run:
            assert [outcome.status for outcome in run] == ["done"] * 3


async def test_an_earlier_attempt_that_may_have_been_billed_is_what_a_call_raises(
    url: str, tmp_path: Path
) -> None:
    """The store is lost between two attempts."""
    sent: list[float] = []

    def lose(request: httpx.Request) -> httpx.Response:
        sent.append(time.monotonic())
        for path in tmp_path.iterdir():
            path.unlink()
        tmp_path.joinpath("shared.sqlite").mkdir()
        raise httpx.ReadTimeout("too slow")

    client = AsyncClient(
        api_key="sk-6",
        shared=url,
        rate_limit=LIMIT,
        http_client=lambda: httpx.AsyncClient(transport=httpx.MockTransport(lose)),
        retry=RetryPolicy(backoff=0.0),
    )
    async with client:
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.images.generate("a cat")
    assert len(sent) == 1
    assert caught.value.maybe_billed
    assert isinstance(caught.value.__cause__, CoordinationError)


PROGRAM = """
import os, sys
import httpx
from imagesdk import Client, RateLimit
answer = httpx.MockTransport(lambda request: httpx.Response(200, json={answer}))
url = sys.argv[1]
def build():
    return Client(api_key="sk", shared=url, rate_limit=RateLimit(50, per=600.0),
                  http_client=lambda: httpx.AsyncClient(transport=answer))
client = build()
client.images.generate("a cat")
if "fork" in sys.argv and not os.fork():
    client.images.generate("a dog")
    client.images.generate("a cow")
    sys.exit()
if "fork" in sys.argv:
    os.wait()
"""


def owners_and_sent(url: str) -> tuple[int, int]:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        ((document,),) = connection.execute("SELECT document FROM documents").fetchall()
    state = json.loads(document)
    return len(state["owners"]), sum(ticket[3] for ticket in state["tickets"] if ticket[6] is not None)


@pytest.mark.parametrize(("mode", "images"), [("plain", 1), ("fork", 3)])
def test_a_process_writes_what_it_has_sent_before_it_exits(url: str, mode: str, images: int) -> None:
    program = PROGRAM.replace("{answer}", repr(ANSWER))
    done = subprocess.run(
        [sys.executable, "-c", program, url, mode], capture_output=True, text=True, timeout=50
    )
    assert done.stderr == ""
    assert owners_and_sent(url) == (0, images)


async def test_work_on_a_store_returns_or_raises_in_the_caller(url: str) -> None:
    thread = PROCESS_THREADS.get(SharedStore(url))
    reply = await thread.run(lambda store: store.read("k"))
    assert reply.version == ""
    with pytest.raises(ZeroDivisionError):
        await thread.run(lambda store: 1 // 0)


async def test_the_thread_of_a_store_ends_when_it_is_not_used(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagesdk._coordination.store_thread._IDLE_SECONDS", 0.01)
    thread = StoreThread(SharedStore(url))
    await thread.run(lambda store: store.read("k"))
    running = thread._thread
    assert running is not None
    running.join(10)
    assert not running.is_alive()
    assert (await thread.run(lambda store: store.read("k"))).version == ""
    thread.end(10)
