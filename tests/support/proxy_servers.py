"""A proxy that works: it forwards plain http and opens tunnels, and all its roads lead to this machine."""

from __future__ import annotations

import base64
from contextlib import suppress
from urllib.parse import urlsplit

import anyio
from anyio.abc import ByteStream
from anyio.streams.buffered import BufferedByteReceiveStream
from attrs import define, field

from tests.support.socket_servers import Conversation, Sent


@define(eq=False)
class Proxy:
    """What a proxy has passed on. ``Proxy().handler`` is for :func:`tests.support.socket_servers.serving`."""

    credentials: str | None = None
    """``user:password``, of all who come."""
    tunnelled: bytearray = field(factory=bytearray)

    async def handler(self, talk: Conversation) -> None:
        while True:
            request = await talk.request()
            if not self._admits(request):
                await talk.answer(b"", 407, proxy_authenticate='Basic realm="proxy"')
                continue
            method, target, _ = request.line.split(" ")
            port = urlsplit(target if method != "CONNECT" else f"//{target}").port
            assert port is not None
            async with await anyio.connect_tcp("127.0.0.1", port) as server:
                if method == "CONNECT":
                    await talk.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    return await self._tunnel(talk.stream, server)
                await talk.send(await _forwarded(request, server))

    def _admits(self, request: Sent) -> bool:
        if self.credentials is None:
            return True
        expected = f"Basic {base64.b64encode(self.credentials.encode()).decode()}"
        return request.headers.get("proxy-authorization") == expected

    async def _tunnel(self, client: ByteStream, server: ByteStream) -> None:
        async def carry(source: ByteStream, target: ByteStream, kept: bytearray) -> None:
            with suppress(anyio.BrokenResourceError):
                async for piece in source:
                    kept += piece
                    await target.send(piece)
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(carry, client, server, self.tunnelled)
            tasks.start_soon(carry, server, client, bytearray())


async def _forwarded(request: Sent, server: ByteStream) -> bytes:
    method, target, version = request.line.split(" ")
    lines = [f"{method} {urlsplit(target).path} {version}"]
    lines += [f"{name}: {value}" for name, value in request.headers.items() if not name.startswith("proxy-")]
    await server.send(("\r\n".join(lines) + "\r\n\r\n").encode() + request.body)
    answer = BufferedByteReceiveStream(server)
    head = await answer.receive_until(b"\r\n\r\n", 65536)
    length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    return head + b"\r\n\r\n" + await answer.receive_exactly(int(length.partition(b":")[2]))
