"""A connection that is kept between requests gives no answer to a request that has another one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import anyio
import pytest
from attrs import define, field

from imagesdk._transport.connection import _buffered_bytes  # pyright: ignore[reportPrivateUsage] - what is looked at is the point
from imagesdk._transport.exchange import WireRequest
from imagesdk._transport.single_connection import DirectTransport
from tests.support.certificates import Authority
from tests.support.socket_servers import Conversation, Handler, serving

SECOND = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong"


def framed(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def chunked(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


async def fetch(transport: DirectTransport, url: str) -> bytes:
    request = WireRequest("GET", url, (("user-agent", "test"),), connect_timeout=5)
    async with transport.exchange(request) as incoming:
        return b"".join([piece async for piece in incoming.body])


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.found(tmp_path_factory.mktemp("authority"))


@pytest.fixture
async def transport() -> AsyncIterator[DirectTransport]:
    transport = DirectTransport()
    yield transport
    await transport.aclose()


@define(eq=False)
class Talkative:
    """Answers with the number of the connection, and has something to say behind each answer."""

    framed: Callable[[bytes], bytes]
    surplus: bytes = b""
    at_once: bool = True
    """Whether it comes with the answer, or when the answer has been taken."""
    taken: anyio.Event = field(factory=anyio.Event)
    said: anyio.Event = field(factory=anyio.Event)

    async def handler(self, talk: Conversation) -> None:
        while True:
            await talk.request()
            good = self.framed(b"%d" % talk.number)
            if self.at_once:
                await talk.send(good + self.surplus)
            else:
                await talk.send(good)
                await self.taken.wait()
                self.taken = anyio.Event()
                await talk.send(self.surplus)
            self.said.set()
            self.said = anyio.Event()

    async def number(self, transport: DirectTransport, url: str) -> bytes:
        """Ask once, and let it say all that it has to."""
        said = self.said
        number = await fetch(transport, url)
        self.taken.set()
        await said.wait()
        return number


@pytest.mark.anyio
@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("answer", [framed, chunked])
@pytest.mark.parametrize("surplus", [SECOND, SECOND[:20], b"\r\n"], ids=["whole", "part", "line"])
async def test_what_comes_behind_an_answer_is_no_answer_to_the_next_request(
    transport: DirectTransport,
    answer: Callable[[bytes], bytes],
    surplus: bytes,
    at_once: bool,
    secure: bool,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server_side = Talkative(answer, surplus, at_once)
    handler: Handler = server_side.handler
    if secure:
        authority.is_known(monkeypatch)
        handler = authority.secured(handler)
    async with serving(handler) as server:
        url = f"https://localhost:{server.port}" if secure else server.origin
        for number in (1, 2, 3):
            assert await server_side.number(transport, url) == b"%d" % number


@pytest.mark.anyio
@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("seen", [True, False], ids=["seen", "read"])
async def test_a_connection_with_nothing_left_on_it_is_used_again(
    transport: DirectTransport,
    seen: bool,
    secure: bool,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether what other libraries hold can be seen, as in the versions that are known, or not."""
    server_side = Talkative(framed)
    handler: Handler = server_side.handler
    if secure:
        authority.is_known(monkeypatch)
        handler = authority.secured(handler)
    looked: list[int | None] = []

    def look(stream: object) -> int | None:
        looked.append(_buffered_bytes(stream) if seen else None)
        return looked[-1]

    monkeypatch.setattr("imagesdk._transport.connection._buffered_bytes", look)
    async with serving(handler) as server:
        url = f"https://localhost:{server.port}" if secure else server.origin
        for _ in range(3):
            assert await server_side.number(transport, url) == b"1"
    assert looked == [0 if seen else None] * 2


@pytest.mark.anyio
@pytest.mark.parametrize("size", [65_536, 131_072, 200_000])
async def test_a_second_answer_behind_a_large_one_is_not_taken_for_the_next(
    transport: DirectTransport, size: int
) -> None:
    """Bytes are handed on in blocks: a second answer may begin with one."""
    head = len(framed(b"x" * size)) - size

    async def handler(talk: Conversation) -> None:
        while True:
            await talk.request()
            await talk.send(framed(b"%d" % talk.number + b"x" * (size - head - 1))[:size] + SECOND)

    async with serving(handler) as server:
        for number in (1, 2, 3):
            assert (await fetch(transport, server.origin))[:1] == b"%d" % number
