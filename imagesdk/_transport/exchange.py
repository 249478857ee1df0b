"""The transport interface: one HTTP exchange, and what all transports share.

There are two transports: the package's own connections (:mod:`imagesdk._transport.single_connection`) and a client of the
user (:mod:`imagesdk._transport.user_client`). Neither follows redirects or adds credentials. The only time-out is for
connecting.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from functools import cache, lru_cache
from typing import Any, Protocol, Self

import anyio
from attrs import define, field, frozen

from imagesdk._transport.environment import proxy_for, redacted_proxy
from imagesdk._transport.httpx_compat import (
    HTTPResponse,
    causes_of,
    httpx_module_of,
    is_mislabelled_timeout,
    redact_key,
)

RELEASE_LIMIT = 5.0
"""Seconds that closing a connection may take."""


class Closable(Protocol):
    async def aclose(self) -> None: ...


class TransportError(Exception):
    """A broken exchange. The cause is chained."""

    def __init__(self, message: str, *, connecting: bool, timed_out: bool, unsent: bool = False) -> None:
        super().__init__(message)
        self.connecting = connecting
        self.timed_out = timed_out
        self.unsent = unsent
        """Whether a piece of the body was not written, so that no server can have the whole request."""


@frozen
class WireRequest:
    """One HTTP request."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    """The headers, with the key: they have no repr because tracebacks may show the values of variables."""
    body: AsyncIterable[bytes] | None = None
    connect_timeout: float | None = None
    server_name: str | None = None
    """The name in the server's certificate, if the URL holds an IP address."""


@frozen
class WireResponse:
    """The status and headers of a response, and its body, still compressed."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case; the values of repeated headers joined by a comma. A server may quote the key in them."""
    body: AsyncIterator[bytes]


class Transport(Protocol):
    """The interface of a transport."""

    def exchange(self, request: WireRequest) -> AbstractAsyncContextManager[WireResponse]:
        """Send ``request``. Leaving the block ends the exchange, even if the body was not read.

        Raises:
            TransportError: If the exchange breaks, on entering the block or on reading the body.
        """
        ...

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""


class Watcher(Protocol):
    """An observer of one exchange of the package's own connections."""

    async def __call__(self, event: str, facts: Mapping[str, Any]) -> None:
        """Look at a step of httpcore."""

    def watched(self, body: AsyncIterable[bytes]) -> AsyncIterable[bytes]:
        """Return a body that is looked at while it is written."""
        ...


def request_of(library: Any, request: WireRequest, watcher: Watcher | None = None) -> Any:
    """Return ``request`` as a request of httpx or httpx2."""
    # The URL of an endpoint is parsed once. Those of images are not cached, for they may be signed.
    url = _endpoint(library, request.url) if request.method == "POST" else library.URL(request.url)
    headers = list(request.headers)
    if not any(name == "host" for name, _ in headers):
        headers.insert(0, ("host", url.netloc.decode("ascii")))
    extensions: dict[str, object] = {
        "timeout": {"connect": request.connect_timeout, "read": None, "write": None, "pool": None}
    }
    body = request.body
    if watcher is not None:
        extensions["trace"] = watcher
        body = body and watcher.watched(body)
    if request.server_name is not None:
        extensions["sni_hostname"] = request.server_name
    stream = {} if body is None else {"stream": _body_class(library)(body)}
    return library.Request(request.method, url, headers=headers, extensions=extensions, **stream)


@lru_cache(maxsize=32)
def _endpoint(library: Any, url: str) -> Any:
    return library.URL(url)


class _Body:
    """A request body without the generator that httpx would wrap around it."""

    def __init__(self, body: AsyncIterable[bytes]) -> None:
        self._body = body

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._body)


@cache
def _body_class(library: Any) -> Any:
    return type("Body", (_Body, library.AsyncByteStream), {})


@define(eq=False)
class BodyIterator:
    """A body, and whether it was read and its connection released: ``response.is_closed`` is true too early."""

    _pieces: AsyncIterator[bytes]
    ended: bool = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            async for piece in self._pieces:
                return piece
        except Exception as error:
            raise transport_error(error) from error
        self.ended = True
        raise StopAsyncIteration


async def finish(response: HTTPResponse, body: BodyIterator) -> bool:
    """End an exchange; return whether its body was read to its end, so that the connection can be used again."""
    if body.ended:
        return True
    with anyio.CancelScope(shield=True) as scope, suppress(Exception):
        scope.cancel()
        async for _ in body:  # the cancellation ends the generators of the HTTP library one after the other
            pass
    await close(response)
    return False


async def close(resource: Closable) -> None:
    """Close a response, a connection or a client, within :data:`RELEASE_LIMIT`; its errors change nothing."""
    with anyio.move_on_after(RELEASE_LIMIT, shield=True), suppress(Exception):
        await resource.aclose()


def transport_error(
    error: Exception, *, connecting: bool = False, url: str | None = None, unsent: bool = False
) -> TransportError:
    """Return an error of an HTTP library, perhaps while it connected to ``url``, as one of ours."""
    redact_key(error)
    mislabelled = is_mislabelled_timeout(error)
    name = type(error.__cause__ if mislabelled else error).__name__
    text = next((text for link in causes_of(error) if (text := str(link))), "")
    message = f"{name}: {text}" if text else name
    connecting = connecting and httpx_module_of(error, "ConnectError", "ConnectTimeout") is not None
    if connecting and url is not None and (proxy := proxy_for(url)):
        message += f"; the environment names the proxy {redacted_proxy(proxy)}"
    timed_out = not mislabelled and httpx_module_of(error, "TimeoutException") is not None
    return TransportError(message, connecting=connecting, timed_out=timed_out, unsent=unsent)
