"""The wire between an engine and a simulated server: no sockets, but the time that they would take."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

import anyio

from imagesdk._transport.exchange import TransportError, WireRequest, WireResponse
from tests.simulator.server import Reply, SimulatedServer

_DRIP = 0.2
"""Seconds between two bytes of an answer that drips."""


class SimulatedTransport:
    """Carries requests to a server in ``network`` seconds each way, give or take a half.

    A new connection takes up to as long again as there and back. The limit counts a request when it arrives.
    """

    def __init__(self, server: SimulatedServer, *, network: float = 0.05, seed: int = 0) -> None:
        self._server = server
        self._network = network
        self._random = random.Random(seed)

    async def aclose(self) -> None:
        """There is nothing to close."""

    @asynccontextmanager
    async def exchange(self, request: WireRequest) -> AsyncGenerator[WireResponse, None]:
        """Send ``request``."""
        await anyio.sleep(self._random.uniform(0.0, 2 * self._network))
        if self._server.refuses_connections:
            raise TransportError("ConnectError: all attempts failed", connecting=True, timed_out=False)
        assert request.body is not None
        body = b"".join([piece async for piece in request.body])
        await self._travel()
        reply = self._server.arrive(body, anyio.current_time())
        await anyio.sleep(reply.seconds)
        if reply.fault == "hang":
            await anyio.sleep_forever()
        await self._travel()
        if reply.fault in {"reset before", "reset after"}:
            raise TransportError("ReadError: connection reset by peer", connecting=False, timed_out=False)
        async with aclosing(_body(reply)) as pieces:
            yield WireResponse(reply.status, reply.headers, pieces)

    async def _travel(self) -> None:
        await anyio.sleep(self._network * self._random.uniform(0.5, 1.5))


async def _body(reply: Reply) -> AsyncGenerator[bytes, None]:
    if reply.fault == "truncated":
        yield reply.body[: len(reply.body) // 2]
        raise TransportError(
            "RemoteProtocolError: incomplete message body", connecting=False, timed_out=False
        )
    if reply.fault == "drip":
        while True:
            yield b" "
            await anyio.sleep(_DRIP)
    yield reply.body
