"""A TCP server for tests that want to decide about every byte, and about the end of every connection."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import NoReturn, TypeAlias

import anyio
from anyio.abc import SocketAttribute, SocketStream
from attrs import define, field, frozen

PATIENCE = 45.0
"""Seconds after which a test that should have ended has hung."""


@frozen
class Sent:
    """A whole request, as a server saw it."""

    line: str
    headers: dict[str, str] = field(repr=False)
    body: bytes


@define(eq=False)
class Conversation:
    """One connection, seen from the server."""

    stream: SocketStream
    number: int
    server: RawServer
    _read: bytearray = field(factory=bytearray)

    async def request(self) -> Sent:
        head = await self.head()
        length = int(head.headers.get("content-length", "0"))
        while len(self._read) < length:
            self._read += await self.stream.receive()
        sent = Sent(head.line, head.headers, bytes(self._read[:length]))
        del self._read[:length]
        self.server.requests.append(sent)
        return sent

    async def head(self) -> Sent:
        while b"\r\n\r\n" not in self._read:
            self._read += await self.stream.receive()
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        line, *rest = head.decode("ascii").split("\r\n")
        pairs = (entry.split(": ", 1) for entry in rest)
        return Sent(line, {name.lower(): value for name, value in pairs}, b"")

    async def send(self, data: bytes) -> None:
        await self.stream.send(data)

    async def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        """Write a whole answer; ``retry_after="1"`` gives a header ``retry-after``."""
        lines = [f"HTTP/1.1 {status} Said", f"content-length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.send(("\r\n".join(lines) + "\r\n\r\n").encode() + body)

    def hang_up(self) -> NoReturn:
        raise anyio.EndOfStream

    async def dropped(self) -> None:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            while True:
                await self.stream.receive()


Handler: TypeAlias = Callable[[Conversation], Awaitable[None]]


@define(eq=False)
class RawServer:
    """What a server has seen. A connection is closed when its handler returns."""

    port: int
    connections: int = 0
    requests: list[Sent] = field(factory=list[Sent])

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return f"{self.origin}/v1"


@asynccontextmanager
async def serving(handler: Handler) -> AsyncGenerator[RawServer, None]:
    """Run a server while the block runs, and give up on a block that hangs."""

    async def converse(stream: SocketStream) -> None:
        server.connections += 1
        talk = Conversation(stream, server.connections, server)
        async with stream:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                await handler(talk)

    with anyio.fail_after(PATIENCE):
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            server = RawServer(listener.extra(SocketAttribute.local_port))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listener.serve, converse)
                try:
                    yield server
                finally:
                    tasks.cancel_scope.cancel()


def always(body: bytes, status: int = 200, **headers: str) -> Handler:
    async def handler(talk: Conversation) -> None:
        while True:
            await talk.request()
            await talk.answer(body, status, **headers)

    return handler


def says(body: bytes, status: int = 200, **headers: str) -> Handler:
    async def step(talk: Conversation) -> None:
        await talk.answer(body, status, **headers)

    return step


def in_turn(*steps: Handler) -> Handler:
    left = list(steps)

    async def handler(talk: Conversation) -> None:
        while True:
            await talk.request()
            if not left:
                talk.hang_up()
            await left.pop(0)(talk)

    return handler


@define(eq=False)
class OpenConnections:
    """The open connections of a server, for tests of what clients leave behind."""

    numbers: set[int] = field(factory=set[int])
    _changed: anyio.Event = field(factory=anyio.Event)

    def counted(self, handler: Handler) -> Handler:
        async def count(talk: Conversation) -> None:
            self._change(self.numbers | {talk.number})
            try:
                await handler(talk)
            finally:
                self._change(self.numbers - {talk.number})

        return count

    async def number(self, expected: int) -> None:
        while len(self.numbers) != expected:
            await self._changed.wait()

    def _change(self, numbers: set[int]) -> None:
        self.numbers = numbers
        self._changed.set()
        self._changed = anyio.Event()
