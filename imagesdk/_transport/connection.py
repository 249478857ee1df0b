"""One connection that is kept between requests: how it is made, and whether anything is left on it.

A server, or a proxy before it, that answers one request twice would have its second answer taken for that of the next
request: another picture than was paid for. So a connection is used again only while nothing is left on it, neither in
the parser of the HTTP library nor on the way there.
"""

from __future__ import annotations

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
"""Seconds that an idle connection is kept: less than common servers wait before they close it (5)."""

_PASSES = 4
"""Passes of the event loop in which bytes that have come reach a reader."""


@define(eq=False)
class Connection:
    """A transport with a single connection, for one exchange at a time."""

    transport: httpx.AsyncHTTPTransport
    stream: Any = None
    """What the connection reads from, from the first answer on.

    https://www.encode.io/httpcore/extensions/#network_stream
    """

    @property
    def has_trailing_data(self) -> bool:
        """Whether bytes behind the end of the answer came with it. So, too, where that cannot be seen.

        httpcore keeps them for the next answer, and has no public view of them.
        """
        pool: Any = getattr(self.transport, "_pool", None)
        for connection in getattr(pool, "connections", [None]):
            within = connection
            while within is not None and not hasattr(within, "_h11_state"):
                within = getattr(within, "_connection", None)  # those through proxies hold another one
            if within is None or within._h11_state.trailing_data[0]:  # noqa: SLF001
                return True
        return False

    async def has_pending_data(self) -> bool:
        """Whether there are bytes, or an end, to be read: then it is of no further use.

        httpcore looks at the socket for that, and not at what TLS and asyncio have taken from there already.
        """
        held = _buffered_bytes(self.stream)
        return await self._has_something() if held is None else held > 0

    async def _has_something(self) -> bool:
        """Find out by reading, which takes a while."""
        found = False

        async def read() -> None:
            nonlocal found
            with suppress(Exception):  # broken is as good as ended
                await self.stream.read(1)
            found = True

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            for _ in range(_PASSES):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        return found

    async def aclose(self) -> None:
        """Close the connection."""
        await self.transport.aclose()


def _buffered_bytes(stream: Any) -> int | None:
    """Return how much was taken from a socket and not asked for yet; ``None`` where that cannot be seen.

    Neither httpcore nor anyio has a public view of it, so that other versions of them may hide it.
    """
    layer: Any = getattr(stream, "_stream", None)
    held = 0
    try:
        while hasattr(layer, "_ssl_object"):
            came: ssl.MemoryBIO = getattr(layer, "_read_bio", None) or layer._incoming  # noqa: SLF001
            held += layer._ssl_object.pending() + came.pending  # noqa: SLF001
            layer = layer.transport_stream
        if "trio" in type(layer).__module__:
            return held  # its sockets keep nothing
        return held + sum(map(len, layer._protocol.read_queue))  # noqa: SLF001
    except AttributeError:
        return None


async def new_connection(url: str, server_name: str | None) -> Connection:
    """Make a slot for ``url``, which connects at its first request.

    Args:
        url: the request's.
        server_name: the name to expect in the certificate, when the URL holds an address.
    """
    if "httpcore" not in sys.modules:  # httpx imports it late, and the event loop would stand still meanwhile
        await anyio.to_thread.run_sync(import_module, "httpcore")
    proxy = proxy_for(url)
    secure = url.startswith("https:") or (proxy or "").startswith("https:")
    context = await tls_context() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        transport = httpx.AsyncHTTPTransport(
            verify=with_server_hostname(context, server_name) if proxy and server_name else context,
            proxy=httpx.Proxy(proxy, ssl_context=context if proxy.startswith("https:") else None)
            if proxy
            else None,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEPALIVE),
        )
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise ConfigurationError(
            f"The proxy {redacted_proxy(proxy or '')} that the environment names cannot be used: {error}"
        ) from None
    return Connection(transport)
