"""Cancelled calls: promises beyond those of ``test_checkpoints``, which cancels small calls at each of their steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

import anyio
import pytest

from imagesdk import AsyncClient, LimitWaitError, RateLimit
from imagesdk.events import Event, ResponseReceived, RetryScheduled
from tests.support.proxy_servers import Proxy
from tests.support.small_images import answer, png
from tests.support.socket_servers import Conversation, always, serving

pytestmark = pytest.mark.anyio
MakeClient: TypeAlias = Callable[..., AsyncClient]

SMALL = png()
HUGE = png(padding=32 * 1024**2)
"""More than the buffers between two sockets hold."""


class Stop:
    """A server that cancels the first call when it has received the head of the request, and answers the others."""

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        self.dropped = anyio.Event()

    async def handler(self, talk: Conversation) -> None:
        if talk.number > 1:
            await always(answer(SMALL))(talk)
        await talk.head()
        self.scope.cancel()
        await talk.dropped()
        self.dropped.set()


class Unfriendly:
    """A server that never answers a TLS handshake."""

    def __init__(self) -> None:
        self.arrived: list[anyio.Event] = [anyio.Event() for _ in range(3)]
        self.left: list[anyio.Event] = [anyio.Event() for _ in range(3)]

    async def handler(self, talk: Conversation) -> None:
        self.arrived[talk.number - 1].set()
        await talk.dropped()
        self.left[talk.number - 1].set()


async def test_a_call_cancelled_while_it_sends_a_large_body_ends_on_the_wire_and_counts_against_the_limit(
    make_client: MakeClient, tmp_path: Path
) -> None:
    stop = Stop()

    async with serving(stop.handler) as server:
        async with make_client(server.base_url, rate_limit=RateLimit(3)) as client:
            with stop.scope:
                await client.images.edit(HUGE, "a cat", n=2, out=tmp_path / "{index}.png")
            await stop.dropped.wait()
            assert stop.scope.cancelled_caught
            assert list(tmp_path.iterdir()) == []

            await client.images.generate("a cat", timeout=5)
            with pytest.raises(LimitWaitError):
                await client.images.generate("a cat", timeout=5)


@pytest.mark.parametrize("way", ["https", "tunnel"])
async def test_a_call_cancelled_in_its_tls_handshake_closes_the_socket_and_gives_its_capacity_back(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    unfriendly = Unfriendly()

    async with serving(unfriendly.handler) as server, serving(Proxy().handler) as proxy:
        if way == "tunnel":
            monkeypatch.setenv("HTTPS_PROXY", proxy.origin)
        base_url = server.base_url.replace("http:", "https:")
        async with make_client(base_url, rate_limit=RateLimit(3)) as client:
            for arrived, left in zip(unfriendly.arrived, unfriendly.left, strict=True):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(partial(client.images.generate, "a cat", n=3))
                    await arrived.wait()
                    tasks.cancel_scope.cancel()
                await left.wait()


async def test_a_call_cancelled_in_the_queue_lets_the_next_one_go(make_client: MakeClient) -> None:
    unfriendly = Unfriendly()
    scopes: dict[str, anyio.CancelScope] = {}
    done: list[str] = []

    async def call(name: str, client: AsyncClient) -> None:
        with anyio.CancelScope() as scopes[name]:
            await client.images.generate(name, n=2)
        done.append(name)

    async with serving(unfriendly.handler) as server:
        base_url = server.base_url.replace("http:", "https:")
        async with make_client(base_url, rate_limit=RateLimit(3)) as client:
            async with anyio.create_task_group() as tasks:
                for name in ("first", "second", "third"):
                    tasks.start_soon(call, name, client)
                    await anyio.wait_all_tasks_blocked()
                await unfriendly.arrived[0].wait()
                scopes["second"].cancel()
                scopes["first"].cancel()
                await unfriendly.arrived[1].wait()
                assert sorted(done) == ["first", "second"]
                scopes["third"].cancel()
        assert server.connections == 2


async def test_a_call_cancelled_between_two_attempts_makes_no_other(make_client: MakeClient) -> None:
    stopped = anyio.CancelScope()

    def observe(event: Event) -> None:
        if isinstance(event, RetryScheduled):
            stopped.cancel()

    async with serving(always(b"", 503, retry_after="100")) as server:
        async with make_client(server.base_url, observers=[observe]) as client:
            with stopped:
                await client.images.generate("a cat")
            assert stopped.cancelled_caught
            assert len(server.requests) == 1


async def test_a_cancelled_call_keeps_images_received_whole(make_client: MakeClient, tmp_path: Path) -> None:
    stopped = anyio.CancelScope()

    def observe(event: Event) -> None:
        if isinstance(event, ResponseReceived):
            stopped.cancel()

    async with serving(always(answer(SMALL, SMALL))) as server:
        async with make_client(server.base_url, observers=[observe]) as client:
            with stopped:
                await client.images.generate("a cat", n=2, out=tmp_path / "{index}.png")

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"0.png": SMALL, "1.png": SMALL}
