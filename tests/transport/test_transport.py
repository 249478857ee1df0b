"""Connections: how they are made, kept, given up and left, seen from the server's side of the socket."""

from __future__ import annotations

import functools
import gc
import threading
from collections.abc import AsyncIterator, Callable
from typing import TypeAlias

import anyio
import httpx
import pytest

from imagesdk import APITimeoutError, AsyncClient, RetryPolicy, Timeouts
from imagesdk._transport.exchange import Transport, WireRequest
from imagesdk._transport.single_connection import DirectTransport
from imagesdk.emulator import Emulator
from tests.support.small_images import answer, png
from tests.support.socket_servers import Conversation, always, serving

pytestmark = pytest.mark.anyio
MakeClient: TypeAlias = Callable[..., AsyncClient]
ANSWER = answer(png())


def get(url: str) -> WireRequest:
    return WireRequest("GET", url, (("user-agent", "test"),), connect_timeout=5)


async def fetch(transport: Transport, url: str) -> bytes:
    async with transport.exchange(get(url)) as incoming:
        return b"".join([piece async for piece in incoming.body])


@pytest.fixture
async def transport() -> AsyncIterator[DirectTransport]:
    transport = DirectTransport()
    yield transport
    await transport.aclose()


async def test_calls_one_after_the_other_share_a_connection(make_client: MakeClient) -> None:
    async with serving(always(ANSWER)) as server, make_client(server.base_url) as client:
        for _ in range(5):
            await client.images.generate("a cat")

        assert (server.connections, len(server.requests)) == (1, 5)


async def test_concurrent_calls_have_a_connection_each_which_later_ones_reuse(
    make_client: MakeClient,
) -> None:
    arrived = 0
    all_arrived = anyio.Event()

    async def handler(talk: Conversation) -> None:
        nonlocal arrived
        while True:
            await talk.request()
            arrived += 1
            if arrived == 20:
                all_arrived.set()
            await all_arrived.wait()
            await talk.answer(ANSWER)

    async with serving(handler) as server, make_client(server.base_url) as client:
        for _ in range(2):
            async with anyio.create_task_group() as tasks:
                for _ in range(20):
                    tasks.start_soon(client.images.generate, "a cat")

        assert (server.connections, len(server.requests)) == (20, 40)


async def test_a_connection_that_the_server_closed_is_not_reused(transport: DirectTransport) -> None:
    async def handler(talk: Conversation) -> None:
        await talk.request()
        await talk.answer(b"once")

    async with serving(handler) as server:
        for _ in range(3):
            assert await fetch(transport, server.origin) == b"once"
            await anyio.wait_all_tasks_blocked()

        assert server.connections == 3


@pytest.mark.parametrize("closes_during", [True, False])
async def test_closing_ends_idle_connections_and_lets_an_exchange_end_without_keeping_its_connection(
    transport: DirectTransport, closes_during: bool
) -> None:
    left = anyio.Event()

    async def handler(talk: Conversation) -> None:
        await talk.request()
        if closes_during:
            await transport.aclose()
        await talk.answer(b"whole")
        await talk.dropped()
        left.set()

    async with serving(handler) as server:
        assert await fetch(transport, server.origin) == b"whole"
        if not closes_during:
            await transport.aclose()
        await left.wait()


async def test_repeated_headers_are_joined_and_names_are_in_lower_case(transport: DirectTransport) -> None:
    async def handler(talk: Conversation) -> None:
        await talk.request()
        await talk.send(b"HTTP/1.1 200 OK\r\nX-One: a\r\nx-one: b\r\nContent-Length: 0\r\n\r\n")

    async with serving(handler) as server, transport.exchange(get(server.origin)) as incoming:
        assert incoming.headers["x-one"] == "a, b"


async def test_a_tls_handshake_that_hangs_ends_at_the_connect_timeout(make_client: MakeClient) -> None:
    left = anyio.Event()

    async def handler(talk: Conversation) -> None:
        await talk.dropped()
        left.set()

    async with serving(handler) as server:
        base_url = server.base_url.replace("http:", "https:")
        terms = {"timeout": Timeouts(connect=0.1), "retry": RetryPolicy(max_attempts=1)}
        async with make_client(base_url, **terms) as client:
            with pytest.raises(APITimeoutError) as caught:
                await client.images.generate("a cat")
            await left.wait()

    assert not caught.value.maybe_billed


async def test_a_factory_makes_one_http_client_a_loop_which_closes_with_ours(make_client: MakeClient) -> None:
    made: list[httpx.AsyncClient] = []

    def make() -> httpx.AsyncClient:
        made.append(httpx.AsyncClient())
        return made[-1]

    async with serving(always(ANSWER)) as server:
        async with make_client(server.base_url, http_client=make) as client:
            await client.images.generate("a cat")
            await client.images.generate("a cat")
            assert [own.is_closed for own in made] == [False]
        assert [own.is_closed for own in made] == [True]


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_connection_of_a_loop_that_ended_is_left_alone(emulator: Emulator, make_client: MakeClient) -> None:
    client = make_client(emulator.base_url)

    for backend in ("asyncio", "trio", "asyncio"):
        anyio.run(client.images.generate, "a cat", backend=backend)
    del client
    gc.collect()  # warns of what was left open while that is expected

    assert [record.status for record in emulator.state.requests] == [200] * 3


def test_one_client_serves_several_threads_at_once(emulator: Emulator, make_client: MakeClient) -> None:
    client = make_client(emulator.base_url)

    async def call() -> None:
        async with client:
            for _ in range(3):
                await client.images.generate("a cat")

    threads = [
        threading.Thread(target=functools.partial(anyio.run, call, backend=backend))
        for backend in ("asyncio", "trio") * 2
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [record.status for record in emulator.state.requests] == [200] * 12
