"""The default transport: single connections, each used by one attempt at a time.

Each connection is an httpx transport of its own, reused last in, first out, and closed after any unclean end. A pool that
is shared between requests could time out, or be corrupted by a cancelled request.

Rules: a 5xx ends its connection, because common servers close it after an unhandled error without announcing it; a body
that the connection does not take whole is unsent.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
from attrs import define

from imagesdk._runtime.loops import PerLoop
from imagesdk._transport.connection import Connection, new_connection
from imagesdk._transport.exchange import (
    BodyIterator,
    WireRequest,
    WireResponse,
    close,
    finish,
    request_of,
    transport_error,
)


class DirectTransport:
    """A stack of idle connections for each event loop and origin."""

    def __init__(self) -> None:
        self._idle: PerLoop[dict[str, list[Connection]]] = PerLoop(dict)
        self._process = os.getpid()

    def __del__(self) -> None:
        # Connections left open at the end of a program, or by the parent of a fork, are no mistake.
        if sys.is_finalizing() or self._process != os.getpid():
            return
        stacks = [stack for idle in self._idle.living() for stack in idle.items()]
        hosts = ", ".join(sorted({str(urlsplit(key).hostname) for key, connections in stacks if connections}))
        if hosts:
            message = (
                f"an AsyncClient was not closed and is connected to {hosts}: use "
                "'async with AsyncClient(...) as client', or await client.aclose()"
            )
            warnings.warn(message, ResourceWarning, source=self, stacklevel=2)

    @asynccontextmanager
    async def exchange(self, request: WireRequest) -> AsyncGenerator[WireResponse, None]:
        """Send ``request`` over an idle connection, or over a new one."""
        parts = urlsplit(request.url)
        key = f"{parts.scheme}://{parts.netloc}/{request.server_name or ''}"
        stacks = self._idle.get()
        idle = stacks.setdefault(key, [])
        connection = await _pop_usable(idle) or await new_connection(request.url, request.server_name)
        clean = False
        watcher = _Watcher(connection)
        try:
            try:
                response = await connection.transport.handle_async_request(
                    request_of(httpx, request, watcher)
                )
            except Exception as error:
                unsent = watcher.unsent
                raise transport_error(error, connecting=True, url=request.url, unsent=unsent) from error
            connection.stream = response.extensions.get("network_stream")
            body = BodyIterator(response.aiter_raw())
            try:
                yield WireResponse(response.status_code, dict(response.headers.items()), body)
            finally:
                clean = await finish(response, body) and not connection.has_trailing_data
                clean = clean and response.status_code < 500
        finally:
            if clean and key in stacks:  # else the transport was closed meanwhile
                idle.append(connection)
            else:
                await close(connection)
                await close(watcher)

    async def aclose(self) -> None:
        """Close the idle connections of the running event loop."""
        stacks = self._idle.pop() or {}
        closing = [connection for idle in stacks.values() for connection in idle]
        stacks.clear()
        for connection in closing:
            await close(connection)


async def _pop_usable(idle: list[Connection]) -> Connection | None:
    """Return the connection that was used last and has no pending data; close those that have."""
    while idle:
        connection, is_usable = idle.pop(), False
        try:
            is_usable = not await connection.has_pending_data()
        finally:
            if not is_usable:
                await close(connection)
        if is_usable:
            return connection
    return None


@define(eq=False)
class _Watcher:
    """One exchange on its connection: the body that it writes, and what httpcore reports of its steps."""

    _connection: Connection
    unsent: bool = False
    """Whether the connection did not take a piece of the body."""
    _socket: Any = None
    """The socket that the exchange opened: httpcore loses one whose TLS handshake is cancelled."""
    _pieces: AsyncIterator[bytes] | None = None

    def watched(self, body: AsyncIterable[bytes]) -> AsyncIterable[bytes]:
        self._pieces = aiter(body)
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        assert self._pieces is not None  # noqa: S101 - there is a body
        piece = await anext(self._pieces)
        if self._connection.is_closed_by_server(self._socket or self._connection.stream):
            # httpcore then reads, because the server may have answered before.
            raise import_module("httpcore").WriteError("the server closed the connection")
        return piece

    async def __call__(self, event: str, facts: Mapping[str, Any]) -> None:
        if event == "http11.send_request_body.failed":
            self.unsent = isinstance(facts["exception"], import_module("httpcore").WriteError)
        elif event.endswith("connect_tcp.complete"):
            self._socket = facts["return_value"]

    async def aclose(self) -> None:
        if self._socket is not None:
            await self._socket.aclose()
