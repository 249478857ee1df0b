"""One connection that is kept alive between requests, and checks for unread bytes on it and for its end.

If a server or a proxy answered one request twice, the second response could be taken for that of the next request: an
image of another call. So a connection with unread bytes is closed, whether the bytes are in the parser of the HTTP
library or in a buffer before it.

Rule: a server that has closed its side before it has the whole request cannot work on it.
"""

from __future__ import annotations

import select
import ssl
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import httpx
from attrs import define

from imagesdk._transport.environment import proxy_for, redacted_proxy, tls_context, with_server_hostname
from imagesdk.errors import ConfigurationError

KEEPALIVE = 4.0
"""Seconds that an idle connection is kept: fewer than the 5 after which common servers close it."""

_LOOP_PASSES = 4
"""Passes of the event loop after which received bytes have reached a reader."""


@define(eq=False)
class Connection:
    """An httpx transport with a single connection, for one exchange at a time."""

    transport: httpx.AsyncHTTPTransport
    stream: Any = None
    """From the first response on: https://www.encode.io/httpcore/extensions/#network_stream."""
    _polled: Any = None
    _poll: Any = None

    @property
    def has_trailing_data(self) -> bool:
        """Whether httpcore holds bytes beyond the response, of which it has no public view, or that cannot be seen."""
        pool: Any = getattr(self.transport, "_pool", None)
        for connection in getattr(pool, "connections", [None]):
            inner = connection
            while inner is not None and not hasattr(inner, "_h11_state"):
                inner = getattr(inner, "_connection", None)  # proxy connections wrap another one
            if inner is None or inner._h11_state.trailing_data[0]:  # noqa: SLF001
                return True
        return False

    def is_closed_by_server(self, stream: Any) -> bool:
        """Whether the server has closed its side of ``stream``, behind any bytes that it sent before."""
        if stream is not self._polled:
            self._polled, self._poll = stream, _poll_for_end(stream)
        return self._poll is not None and bool(self._poll(0))  # breaks are always reported

    async def has_pending_data(self) -> bool:
        """Whether bytes, or the end of the connection, wait in TLS and asyncio, where httpcore does not look."""
        buffered = _buffered_bytes(self.stream)
        return await self._try_to_read() if buffered is None else buffered > 0

    async def _try_to_read(self) -> bool:
        """Check for pending data by reading, which takes some passes of the event loop."""
        has_data = False

        async def read() -> None:
            nonlocal has_data
            with suppress(Exception):  # a broken connection is as useless as one that has ended
                await self.stream.read(1)
            has_data = True

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            for _ in range(_LOOP_PASSES):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        return has_data

    async def aclose(self) -> None:
        await self.transport.aclose()


def _buffered_bytes(stream: Any) -> int | None:
    """Return the number of bytes between a socket and its reader; ``None`` where no attribute shows it."""
    layer: Any = getattr(stream, "_stream", None)
    buffered = 0
    try:
        while hasattr(layer, "_ssl_object"):
            incoming: ssl.MemoryBIO = getattr(layer, "_read_bio", None) or layer._incoming  # noqa: SLF001
            buffered += layer._ssl_object.pending() + incoming.pending  # noqa: SLF001
            layer = layer.transport_stream
        if "trio" in type(layer).__module__:
            return buffered  # its sockets have no buffer
        return buffered + sum(map(len, layer._protocol.read_queue))  # noqa: SLF001
    except AttributeError:
        return None


_END = getattr(select, "POLLRDHUP", 0)
"""The end of what the other side sends, where the system shows it (Linux); elsewhere only a broken connection shows."""


def _poll_for_end(stream: Any) -> Any:
    """Return a function that polls the socket of a stream for its end; ``None`` where that cannot be done."""
    socket = None if stream is None else stream.get_extra_info("socket")
    if socket is None or socket.fileno() < 0 or not hasattr(select, "poll"):
        return None
    poll = select.poll()
    poll.register(socket, _END)
    return poll.poll


async def new_connection(url: str, server_name: str | None) -> Connection:
    """Make a connection for ``url``, which connects at its first request."""
    if "httpcore" not in sys.modules:  # httpx imports it late, which would block the event loop
        await anyio.to_thread.run_sync(import_module, "httpcore")
    proxy = proxy_for(url)
    secure = url.startswith("https:") or (proxy or "").startswith("https:")
    context = await tls_context() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    verify = with_server_hostname(context, server_name) if proxy and server_name else context
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEPALIVE)
    try:
        proxy_context = context if proxy and proxy.startswith("https:") else None
        through = httpx.Proxy(proxy, ssl_context=proxy_context) if proxy else None
        return Connection(httpx.AsyncHTTPTransport(verify=verify, proxy=through, limits=limits))
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise ConfigurationError(
            f"The proxy {redacted_proxy(proxy or '')} that the environment names cannot be used: {error}"
        ) from None
