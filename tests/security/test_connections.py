"""A connection that is kept between requests gives no request the answer to another one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import anyio
import pytest
from attrs import define, field

from imagesdk._transport.connection import _buffered_bytes  # pyright: ignore[reportPrivateUsage] - what it sees is the point
from imagesdk._transport.exchange import WireRequest
from imagesdk._transport.single_connection import DirectTransport
from tests.support.certificates import Authority
from tests.support.socket_servers import Conversation, Handler, RawServer, serving

pytestmark = pytest.mark.anyio

SECOND = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong"


def framed(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def chunked(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


async def fetch(transport: DirectTransport, url: str) -> bytes:
    request = WireRequest("GET", url, (("user-agent", "test"),), connect_timeout=5)
    async with transport.exchange(request) as incoming:
        return b"".join([piece async for piece in incoming.body])


@pytest.fixture
async def transport() -> AsyncIterator[DirectTransport]:
    transport = DirectTransport()
    yield transport
    await transport.aclose()


@pytest.fixture(params=["http", "https"])
def scheme(request: pytest.FixtureRequest, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> str:
    authority.is_known(monkeypatch)
    scheme: str = request.param
    return scheme


@define(eq=False)
class Talkative:
    """A server that answers with the number of the connection and sends surplus bytes behind each answer."""

    framed: Callable[[bytes], bytes]
    surplus: bytes = b""
    at_once: bool = True
    """Whether the surplus comes with the answer, or when the client has taken the answer."""
    taken: anyio.Event = field(factory=anyio.Event)
    sent: anyio.Event = field(factory=anyio.Event)

    def over(self, scheme: str, authority: Authority) -> Handler:
        return authority.secured(self.handler) if scheme == "https" else self.handler

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
            self.sent.set()
            self.sent = anyio.Event()

    async def number(self, transport: DirectTransport, scheme: str, server: RawServer) -> bytes:
        """Send one request, and let the server send all its bytes."""
        sent = self.sent
        number = await fetch(transport, f"{scheme}://localhost:{server.port}")
        self.taken.set()
        await sent.wait()
        return number


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("answer", [framed, chunked])
@pytest.mark.parametrize("surplus", [SECOND, SECOND[:20], b"\r\n"], ids=["whole", "part", "line"])
async def test_bytes_behind_an_answer_are_no_answer_to_the_next_request(
    transport: DirectTransport,
    answer: Callable[[bytes], bytes],
    surplus: bytes,
    at_once: bool,
    scheme: str,
    authority: Authority,
) -> None:
    talkative = Talkative(answer, surplus, at_once)
    async with serving(talkative.over(scheme, authority)) as server:
        for number in (1, 2, 3):
            assert await talkative.number(transport, scheme, server) == b"%d" % number


@pytest.mark.parametrize("seen", [True, False], ids=["seen", "read"])
async def test_a_connection_without_surplus_bytes_is_used_again(
    transport: DirectTransport, seen: bool, scheme: str, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the buffers of other libraries can be seen, as in the versions that are known, or not."""
    talkative = Talkative(framed)
    looked: list[int | None] = []

    def look(stream: object) -> int | None:
        looked.append(_buffered_bytes(stream) if seen else None)
        return looked[-1]

    monkeypatch.setattr("imagesdk._transport.connection._buffered_bytes", look)
    async with serving(talkative.over(scheme, authority)) as server:
        for _ in range(3):
            assert await talkative.number(transport, scheme, server) == b"1"
    assert looked == [0 if seen else None] * 2


@pytest.mark.parametrize("size", [65_536, 131_072, 200_000])
async def test_a_second_answer_behind_a_large_one_is_not_used(transport: DirectTransport, size: int) -> None:
    """Bytes are handed on in blocks: a second answer may begin with one."""
    head = len(framed(b"x" * size)) - size

    async def handler(talk: Conversation) -> None:
        while True:
            await talk.request()
            await talk.send(framed(b"%d" % talk.number + b"x" * (size - head - 1))[:size] + SECOND)

    async with serving(handler) as server:
        for number in (1, 2, 3):
            assert (await fetch(transport, server.origin))[:1] == b"%d" % number
