"""Crowds of calls that are cancelled at random instants, over http, https and the tunnel of a proxy."""

from __future__ import annotations

import gc
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from attrs import define, field

from imagesdk import AsyncClient, ImagesResponse, RetryPolicy, Timeouts
from imagesdk._ratelimit.unlimited import CONCURRENCY
from tests.support.certificates import Authority
from tests.support.proxy_servers import Proxy
from tests.support.small_images import answer, png
from tests.support.socket_servers import Conversation, Handler, OpenConnections, RawServer, serving

SMALL = png()
HUGE = png(padding=8 * 1024**2)
"""More than the buffers between two sockets take at once."""
LONG = answer(png(padding=200_000))
WORKERS = CONCURRENCY * 3 // 2
"""More than may be under way at once, so that some wait in line."""
PASSES = {"starting": 60, "sending": 12, "waiting": 12, "reading": 12}
"""The moments from which a call is cancelled, as its server sees them, and how many passes later at most."""


@define(eq=False)
class _Call:
    """One call, and when it is to be cancelled."""

    moment: str
    passes: int
    scope: anyio.CancelScope = field(factory=anyio.CancelScope)
    arrivals: int = 0
    over: anyio.Event = field(factory=anyio.Event)

    async def cancel(self) -> None:
        for _ in range(self.passes):
            await anyio.lowlevel.checkpoint()
        self.scope.cancel()


class Storm:
    """Calls that are all cancelled, and their server, which answers no other way than by halves."""

    def __init__(self, calls: int, chance: Random) -> None:
        moments = chance.choices(list(PASSES), [6, 1, 4, 4], k=calls)
        moments[:WORKERS] = ["waiting"] * WORKERS  # they show how many can be under way at once
        self.calls = [_Call(moment, chance.randrange(PASSES[moment])) for moment in moments]
        self.reached: Counter[str] = Counter()
        """How many calls were how far when they ended, of those that their server saw."""
        self.most = 0
        self._full = anyio.Event()

    async def blow(self, client: AsyncClient) -> None:
        left = iter(range(len(self.calls)))

        async def work() -> None:
            for number in left:
                await self._call(client, number)

        async with anyio.create_task_group() as tasks:
            for _ in range(WORKERS):
                tasks.start_soon(work)

    async def _call(self, client: AsyncClient, number: int) -> None:
        call = self.calls[number]
        headers = {"x-call": str(number)}
        async with anyio.create_task_group() as tasks:
            with call.scope:
                if call.moment == "starting":
                    tasks.start_soon(call.cancel)
                if call.moment == "sending":
                    await client.images.edit(HUGE, "a cat", extra_headers=headers)
                else:
                    await client.images.generate("a cat", extra_headers=headers)
        call.over.set()
        assert call.scope.cancelled_caught

    async def handler(self, talk: Conversation) -> None:
        stream = BufferedByteReceiveStream(talk.stream)
        while True:
            try:
                head = (await stream.receive_until(b"\r\n\r\n", 65536)).decode().lower()
            except anyio.IncompleteRead:
                return
            headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
            length = int(headers["content-length"])
            if "x-call" in headers:
                await self._end(int(headers["x-call"]), length, stream, talk)
            else:
                await stream.receive_exactly(length)
                await talk.answer(answer(SMALL))

    async def _end(
        self, number: int, length: int, stream: BufferedByteReceiveStream, talk: Conversation
    ) -> None:
        call = self.calls[number]
        call.arrivals += 1
        self.most = max(self.most, sum(bool(call.arrivals) and not call.over.is_set() for call in self.calls))
        if self.most == CONCURRENCY:
            self._full.set()
        await self._full.wait()
        reached = "sending"
        try:
            if call.moment != "sending":
                await stream.receive_exactly(length)
                reached = "waiting"
            if call.moment == "reading":
                head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(LONG)}\r\n\r\n"
                await talk.send(head.encode() + LONG[: len(LONG) // 2])
                reached = "reading"
            if call.moment != "starting":
                await call.cancel()
            await call.over.wait()  # what is read before it is over, it can send
            await stream.receive_exactly(length)
        except (anyio.IncompleteRead, anyio.BrokenResourceError):
            self.reached[reached] += 1
        talk.hang_up()


_WAYS = ("http", "https", "tunnel")
_STORM = 500


def run(seed: int, first: int, count: int) -> Counter[str]:
    counts: Counter[str] = Counter()
    for begin in range(first, first + count, _STORM):
        turn = begin // _STORM
        way, backend = _WAYS[turn % len(_WAYS)], ("asyncio", "trio")[turn // len(_WAYS) % 2]
        with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as monkeypatch:
            authority = Authority.found(Path(folder))
            authority.is_known(monkeypatch)
            monkeypatch.setattr("tests.support.socket_servers.PATIENCE", 60)
            chance = Random(f"{seed}/{begin}")
            counts += anyio.run(_survive, _STORM, chance, way, authority, monkeypatch, backend=backend)
        gc.collect()  # what a storm has left open is warned of: warnings are errors
    return counts


async def _survive(
    calls: int, chance: Random, way: str, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> Counter[str]:
    storm = Storm(calls, chance)
    connections, tunnels = OpenConnections(), OpenConnections()
    async with AsyncExitStack() as stack:

        async def start(handler: Handler) -> RawServer:
            return await stack.enter_async_context(serving(handler))

        handler = storm.handler if way == "http" else authority.secured(storm.handler)
        server = await start(connections.counted(handler))
        if way == "tunnel":
            proxy = await start(tunnels.counted(Proxy().handler))
            monkeypatch.setenv("HTTPS_PROXY", proxy.origin)
        scheme = "http" if way == "http" else "https"
        base_url = f"{scheme}://127.0.0.1:{server.port}/v1"
        patient = Timeouts(connect=60)  # a crowd shakes hands for a while
        terms: dict[str, Any] = {"api_key": "", "retry": RetryPolicy(backoff=0), "timeout": patient}
        client = await stack.enter_async_context(AsyncClient(base_url=base_url, rate_limit=None, **terms))

        await storm.blow(client)

        await connections.number(0)
        await tunnels.number(0)
        assert storm.most == CONCURRENCY
        assert server.connections <= len(storm.calls)
        assert {call.arrivals for call in storm.calls} == {0, 1}
        assert set(storm.reached) == {"sending", "waiting", "reading"}

        responses: list[ImagesResponse] = []

        async def call() -> None:
            responses.append(await client.images.generate("a cat"))

        async with anyio.create_task_group() as tasks:
            for _ in range(30):
                tasks.start_soon(call)
        assert [response[0].bytes for response in responses] == [SMALL] * 30
        assert len(connections.numbers) <= 30
    counts = Counter({f"cancelled while {how}": number for how, number in storm.reached.items()})
    counts[f"calls over {way}"] = calls
    return counts
