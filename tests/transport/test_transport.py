"""Connections: how they are made, kept, given up and left, seen from the server's side of the socket."""

from __future__ import annotations

import functools
import gc
import socket
import threading
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit

import anyio
import httpx
import pytest

from imagesdk import APITimeoutError, AsyncClient, RetryPolicy, Timeouts
from imagesdk._transport.exchange import Transport, TransportError, WireRequest
from imagesdk._transport.single_connection import DirectTransport
from imagesdk.emulator import Emulator
from tests.support.small_images import answer, png
from tests.support.socket_servers import Conversation, always, serving

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


@pytest.mark.anyio
async def test_calls_one_after_the_other_share_a_connection(make_client: Callable[..., AsyncClient]) -> None:
    async with serving(always(ANSWER)) as server, make_client(server.base_url) as client:
        for _ in range(5):
            await client.images.generate("a cat")

        assert (server.connections, len(server.requests)) == (1, 5)


@pytest.mark.anyio
async def test_concurrent_calls_have_a_connection_each_and_later_calls_reuse_them(
    make_client: Callable[..., AsyncClient],
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


@pytest.mark.anyio
async def test_a_connection_that_the_server_closed_is_not_reused(transport: DirectTransport) -> None:
    async def handler(talk: Conversation) -> None:
        await talk.request()
        await talk.answer(b"once")

    async with serving(handler) as server:
        for _ in range(3):
            assert await fetch(transport, server.origin) == b"once"
            await anyio.wait_all_tasks_blocked()

        assert server.connections == 3


@pytest.mark.anyio
async def test_an_exchange_that_is_left_early_closes_its_connection(transport: DirectTransport) -> None:
    left = anyio.Event()

    async def handler(talk: Conversation) -> None:
        await talk.request()
        if talk.number == 1:
            await talk.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
            await talk.dropped()
            left.set()
        else:
            await talk.answer(b"whole")

    async with serving(handler) as server:
        async with transport.exchange(get(server.origin)) as incoming:
            assert await anext(incoming.body) == b"half"
        await left.wait()
        assert await fetch(transport, server.origin) == b"whole"


@pytest.mark.anyio
async def test_the_server_sees_a_cancelled_exchange_end_and_the_next_one_works(
    transport: DirectTransport,
) -> None:
    left = anyio.Event()

    async def handler(talk: Conversation) -> None:
        await talk.request()
        if talk.number == 1:
            scope.cancel()
            await talk.dropped()
            left.set()
        else:
            await talk.answer(b"whole")

    async with serving(handler) as server:
        with anyio.CancelScope() as scope:
            await fetch(transport, server.origin)
        await left.wait()
        assert scope.cancelled_caught
        assert await fetch(transport, server.origin) == b"whole"


@pytest.mark.anyio
async def test_closing_during_an_exchange_lets_it_end_and_keeps_no_connection(
    transport: DirectTransport,
) -> None:
    left = anyio.Event()

    async def handler(talk: Conversation) -> None:
        await talk.request()
        await transport.aclose()
        await talk.answer(b"whole")
        await talk.dropped()
        left.set()

    async with serving(handler) as server:
        assert await fetch(transport, server.origin) == b"whole"
        await left.wait()


@pytest.mark.anyio
async def test_closing_ends_idle_connections(transport: DirectTransport) -> None:
    left = anyio.Event()

    async def handler(talk: Conversation) -> None:
        await talk.request()
        await talk.answer(b"whole")
        await talk.dropped()
        left.set()

    async with serving(handler) as server:
        await fetch(transport, server.origin)
        await transport.aclose()
        await left.wait()


@pytest.mark.anyio
async def test_a_redirect_is_a_response_and_is_not_followed(transport: DirectTransport) -> None:
    async with serving(always(b"", 302, location="/elsewhere")) as server:
        async with transport.exchange(get(server.origin)) as incoming:
            assert incoming.status == 302
            assert incoming.headers["location"] == "/elsewhere"

        assert len(server.requests) == 1


@pytest.mark.anyio
async def test_repeated_headers_are_joined_and_names_are_in_lower_case(transport: DirectTransport) -> None:
    async def handler(talk: Conversation) -> None:
        await talk.request()
        await talk.send(b"HTTP/1.1 200 OK\r\nX-One: a\r\nx-one: b\r\nContent-Length: 0\r\n\r\n")

    async with serving(handler) as server, transport.exchange(get(server.origin)) as incoming:
        assert incoming.headers["x-one"] == "a, b"


@pytest.mark.anyio
async def test_a_refused_connection_is_a_connecting_error(transport: DirectTransport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"

    with pytest.raises(TransportError) as caught:
        await fetch(transport, url)

    assert caught.value.connecting
    assert not caught.value.timed_out
    assert isinstance(caught.value.__cause__, httpx.ConnectError)


@pytest.mark.anyio
@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", b"what?\r\n\r\n"])
async def test_a_broken_response_is_an_error_with_its_cause(transport: DirectTransport, said: bytes) -> None:
    async def handler(talk: Conversation) -> None:
        await talk.request()
        await talk.send(said)

    async with serving(handler) as server:
        with pytest.raises(TransportError) as caught:
            await fetch(transport, server.origin)

    assert not caught.value.connecting
    assert isinstance(caught.value.__cause__, httpx.RemoteProtocolError)


@pytest.mark.anyio
async def test_a_tls_handshake_that_hangs_ends_at_the_connect_timeout(
    make_client: Callable[..., AsyncClient],
) -> None:
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


@pytest.mark.anyio
@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
async def test_a_proxy_of_the_environment_is_used(
    monkeypatch: pytest.MonkeyPatch, make_client: Callable[..., AsyncClient], variable: str
) -> None:
    async with serving(always(ANSWER)) as proxy:
        monkeypatch.setenv(variable, proxy.origin)
        async with make_client("http://images.test/v1") as client:
            await client.images.generate("a cat")

        assert proxy.requests[0].line == "POST http://images.test/v1/images/generations HTTP/1.1"
        assert proxy.requests[0].headers["host"] == "images.test"


@pytest.mark.anyio
@pytest.mark.parametrize("hosts", ["127.0.0.1", "elsewhere.test,127.0.0.1", "*"])
async def test_no_proxy_connects_directly_to_the_server(
    monkeypatch: pytest.MonkeyPatch, make_client: Callable[..., AsyncClient], hosts: str
) -> None:
    async with serving(always(b"", 500)) as proxy, serving(always(ANSWER)) as server:
        monkeypatch.setenv("http_proxy", proxy.origin)
        monkeypatch.setenv("no_proxy", hosts)
        async with make_client(server.base_url) as client:
            await client.images.generate("a cat")

        assert (proxy.connections, server.connections) == (0, 1)


@pytest.mark.anyio
async def test_a_tunnel_is_opened_without_the_key(
    monkeypatch: pytest.MonkeyPatch, make_client: Callable[..., AsyncClient]
) -> None:
    async def handler(talk: Conversation) -> None:
        talk.server.requests.append(await talk.head())
        await talk.send(b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n")

    async with serving(handler) as proxy:
        monkeypatch.setenv("https_proxy", urlsplit(proxy.origin).netloc)
        once = RetryPolicy(max_attempts=1)
        async with make_client("https://images.test/v1", api_key="sk-1", retry=once) as client:
            with pytest.raises(Exception, match="403"):
                await client.images.generate("a cat")

        assert proxy.requests[0].line == "CONNECT images.test:443 HTTP/1.1"
        assert "authorization" not in proxy.requests[0].headers


@pytest.mark.anyio
async def test_an_http_client_of_the_user_is_used_and_left_open(
    make_client: Callable[..., AsyncClient],
) -> None:
    terms = {"headers": {"x-own": "1"}, "auth": ("me", "secret"), "follow_redirects": True}
    async with serving(always(ANSWER)) as server, httpx.AsyncClient(**terms) as own:  # type: ignore[arg-type]
        async with make_client(server.base_url, http_client=own, api_key="sk-1") as client:
            await client.images.generate("a cat")

        assert not own.is_closed
        assert server.requests[0].headers["authorization"] == "Bearer sk-1"


@pytest.mark.anyio
async def test_an_http_client_follows_no_redirect_of_a_paid_request(
    make_client: Callable[..., AsyncClient],
) -> None:
    async with serving(always(b"", 307, location="/elsewhere")) as server:
        async with (
            httpx.AsyncClient(follow_redirects=True) as own,
            make_client(server.base_url, http_client=own) as client,
        ):
            with pytest.raises(Exception, match="redirects to /elsewhere"):
                await client.images.generate("a cat")

        assert len(server.requests) == 1


@pytest.mark.anyio
async def test_a_factory_makes_one_http_client_for_a_loop_and_it_is_closed_with_ours(
    make_client: Callable[..., AsyncClient],
) -> None:
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


def test_one_client_serves_one_event_loop_after_the_other(
    emulator: Emulator, make_client: Callable[..., AsyncClient]
) -> None:
    client = make_client(emulator.base_url)

    async def call() -> None:
        async with client:
            await client.images.generate("a cat", size="1024x1024")

    for backend in ("asyncio", "trio", "asyncio"):
        anyio.run(call, backend=backend)

    assert [record.status for record in emulator.state.requests] == [200] * 3


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_connection_left_open_by_a_loop_that_has_ended_is_not_touched_again(
    emulator: Emulator, make_client: Callable[..., AsyncClient]
) -> None:
    client = make_client(emulator.base_url)

    for backend in ("asyncio", "trio", "asyncio"):
        anyio.run(client.images.generate, "a cat", backend=backend)
    del client
    gc.collect()  # warns of what was left open while that is expected

    assert [record.status for record in emulator.state.requests] == [200] * 3


def test_one_client_serves_several_threads_at_once(
    emulator: Emulator, make_client: Callable[..., AsyncClient]
) -> None:
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
