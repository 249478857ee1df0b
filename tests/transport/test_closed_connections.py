"""Connections that a server closes without announcing it: what is sent again, and what may have been read."""

from __future__ import annotations

import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Self, TypeAlias

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import SocketAttribute

from imagesdk import AsyncClient, InternalServerError, RetryPolicy
from imagesdk._transport.exchange import TransportError, WireRequest
from imagesdk._transport.single_connection import DirectTransport
from tests.support.small_images import answer, png
from tests.support.socket_servers import Conversation, serving

pytestmark = pytest.mark.anyio
MakeClient: TypeAlias = Callable[..., AsyncClient]
ANSWER = answer(png())


async def test_good_calls_between_failing_ones_have_good_results_although_each_500_closes_its_connection(
    make_client: MakeClient,
) -> None:
    async def handler(talk: Conversation) -> None:
        while b"bad" not in (await talk.request()).body:
            await talk.answer(ANSWER)
        await talk.answer(b"Internal Server Error", 500)
        await talk.stream.receive(
            1
        )  # closes as soon as the connection is used again, with the request unread

    async with (
        serving(handler) as server,
        make_client(server.base_url, retry=RetryPolicy(max_attempts=1)) as client,
    ):

        async def call(number: int) -> None:
            with pytest.raises(InternalServerError):
                await client.images.generate("a bad cat")
            good.append(await client.images.generate(f"cat {number}"))

        good: list[object] = []
        async with anyio.create_task_group() as tasks:
            for number in range(32):
                tasks.start_soon(call, number)

    assert len(good) == 32


class Body:
    """A body of two pieces. (No generator, because an exchange may leave it.)"""

    def __init__(self, before_last: Callable[[], Awaitable[object]]) -> None:
        self._before_last = before_last
        self._left = [b"begin", b"-end."]

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        if len(self._left) == 1:
            await self._before_last()
        return self._left.pop(0)


def post(url: str, before_last: Callable[[], Awaitable[object]]) -> WireRequest:
    return WireRequest("POST", url, (("content-length", "10"),), Body(before_last))


@pytest.mark.parametrize("reset", [False, True], ids=["ended", "reset"])
@pytest.mark.parametrize("closed", ["before the last piece", "after the last piece"])
async def test_a_body_is_unsent_only_if_the_connection_was_closed_before_its_last_piece(
    reset: bool, closed: str
) -> None:
    close, is_closed = anyio.Event(), anyio.Event()

    async def handler(talk: Conversation) -> None:
        await talk.request()
        await talk.answer(b"first")
        if closed == "after the last piece":
            await talk.request()
        else:
            await close.wait()
        linger = struct.pack("ii", reset, 0)
        talk.stream.extra(SocketAttribute.raw_socket).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        await talk.stream.aclose()
        await anyio.wait_all_tasks_blocked()
        is_closed.set()

    async def closing() -> None:
        close.set()
        await is_closed.wait()

    before_last = closing if closed == "before the last piece" else anyio.lowlevel.checkpoint
    transport = DirectTransport()
    async with serving(handler) as server:
        async with transport.exchange(post(server.origin, anyio.lowlevel.checkpoint)) as response:
            assert [piece async for piece in response.body] == [b"first"]
        with pytest.raises(TransportError) as caught:
            async with transport.exchange(post(server.origin, before_last)):
                pass
        assert caught.value.unsent == (before_last is closing)
        assert server.connections == 1
    await transport.aclose()


async def test_an_answer_that_came_before_the_last_piece_is_read_although_the_connection_is_closed() -> None:
    is_closed = anyio.Event()

    async def handler(talk: Conversation) -> None:
        await talk.head()
        await talk.answer(b"too large", 413)
        await talk.stream.send_eof()
        is_closed.set()
        await talk.dropped()

    transport = DirectTransport()
    async with serving(handler) as server:
        async with transport.exchange(post(server.origin, is_closed.wait)) as response:
            assert (response.status, [piece async for piece in response.body]) == (413, [b"too large"])
    await transport.aclose()
