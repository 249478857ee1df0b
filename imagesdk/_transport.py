"""Bytes out, bytes in: the seam to httpx.

``SlotTransport`` is what every client uses. Each slot is one httpx transport with a single connection, used by
one attempt at a time, last in first out, and thrown away after any end that was not clean: a pool that is never
shared between requests can neither time out nor be poisoned by a cancelled one. ``ClientTransport`` hands
requests to an ``httpx.AsyncClient`` of the user's instead. Neither follows a redirect, adds credentials of its
own or sets a time-out but the one for connecting.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

import anyio
import httpx
from attrs import field, frozen

from imagesdk._environment import proxy_for, shown_proxy
from imagesdk._loops import PerLoop
from imagesdk._slot import Slot, new_slot
from imagesdk.errors import ConfigurationError

RELEASE_LIMIT = 5.0
"""Seconds that closing a connection may take."""


class WireError(Exception):
    """The exchange broke. The cause is chained."""

    def __init__(self, message: str, *, connecting: bool, timed_out: bool) -> None:
        super().__init__(message)
        self.connecting = connecting
        self.timed_out = timed_out


@frozen
class Outgoing:
    """One request as it goes over the wire."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    """They hold the key, and tracebacks may show the values of variables."""
    body: AsyncIterable[bytes] | None = None
    connect_timeout: float | None = None
    server_name: str | None = None
    """The name to expect in the certificate, when the URL holds an address."""


@frozen
class Incoming:
    """The head of an answer, and its body as raw bytes, still compressed."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case; repeated ones joined by a comma."""
    body: AsyncIterator[bytes]


class Transport(Protocol):
    """Carries one exchange at a time."""

    def exchange(self, request: Outgoing) -> AbstractAsyncContextManager[Incoming]:
        """Send ``request``; leaving the block ends the exchange, read or not.

        Raises:
            WireError: on entering the block or reading the body.
        """
        ...

    async def aclose(self) -> None:
        """Close what belongs to the running loop."""
        ...


class SlotTransport:
    """A stack of single-connection transports for each loop and origin."""

    def __init__(self) -> None:
        self._idle: PerLoop[dict[str, list[Slot]]] = PerLoop(dict)
        self._process = os.getpid()

    def __del__(self) -> None:
        # What is left open at the end of a program, or belongs to the parent of a fork, is nobody's mistake.
        if sys.is_finalizing() or self._process != os.getpid():
            return
        open_to = {
            str(urlsplit(key).hostname)
            for idle in self._idle.living()
            for key, slots in idle.items()
            if slots
        }
        if open_to:
            warnings.warn(
                f"an AsyncClient was not closed and is connected to {', '.join(sorted(open_to))}: use "
                "'async with AsyncClient(...) as client', or await client.aclose()",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )

    @asynccontextmanager
    async def exchange(self, request: Outgoing) -> AsyncGenerator[Incoming, None]:
        """Send ``request`` over an idle slot, or a new one."""
        parts = urlsplit(request.url)
        key = f"{parts.scheme}://{parts.netloc}/{request.server_name or ''}"
        idle = self._idle.get().setdefault(key, [])
        slot = await _from(idle) or await new_slot(request.url, request.server_name)
        clean = False
        opened = _Opened()
        try:
            with _wire_errors(connecting=True, url=request.url):
                response = await slot.transport.handle_async_request(_httpx_request(request, trace=opened))
            slot.stream = response.extensions.get("network_stream")
            body = _Pieces(response)
            try:
                yield Incoming(response.status_code, _joined(response.headers), body)
            finally:
                clean = await _finish(response, body) and not slot.parsed_too_much
        finally:
            if clean and self._idle.get().get(key) is idle:  # else we were closed meanwhile
                idle.append(slot)
            else:
                await _close(slot)
                await _close(opened)

    async def aclose(self) -> None:
        """Close the idle connections of the running loop; those of other loops are dropped with it."""
        for slots in (self._idle.pop() or {}).values():
            for slot in slots:
                await _close(slot)


async def _from(idle: list[Slot]) -> Slot | None:
    """Take the slot that was used last and has nothing left to read; close those that have."""
    while idle:
        slot, usable = idle.pop(), False
        try:
            usable = not await slot.is_readable()
        finally:
            if not usable:
                await _close(slot)
        if usable:
            return slot
    return None


class ClientTransport:
    """Requests through an ``httpx.AsyncClient`` of the user's, or one that a factory makes for each loop."""

    def __init__(self, client: httpx.AsyncClient | Callable[[], httpx.AsyncClient]) -> None:
        if isinstance(client, httpx.Client):
            raise ConfigurationError(
                "http_client= takes an httpx.AsyncClient, for the blocking Client too: it runs on the loop behind it."
            )
        self._own = not isinstance(client, httpx.AsyncClient)
        logging.getLogger("httpx").addFilter(_without_queries)
        self._client: PerLoop[httpx.AsyncClient] | httpx.AsyncClient = (
            client if isinstance(client, httpx.AsyncClient) else PerLoop(client)
        )

    @asynccontextmanager
    async def exchange(self, request: Outgoing) -> AsyncGenerator[Incoming, None]:
        """Send ``request`` with the user's client."""
        client = self._client if isinstance(self._client, httpx.AsyncClient) else self._client.get()
        fetching = _fetching.set(request.method == "GET")
        try:
            with _wire_errors(connecting=True):
                response = await client.send(
                    _httpx_request(request), stream=True, follow_redirects=False, auth=_no_credentials
                )
        finally:
            _fetching.reset(fetching)
        body = _Pieces(response)
        try:
            yield Incoming(response.status_code, _joined(response.headers), body)
        finally:
            await _finish(response, body)

    async def aclose(self) -> None:
        """Close a client that our factory made; the user's own stays open."""
        if not isinstance(self._client, httpx.AsyncClient) and (client := self._client.pop()) is not None:
            with anyio.move_on_after(RELEASE_LIMIT, shield=True), suppress(Exception):
                await client.aclose()


_fetching: ContextVar[bool] = ContextVar("imagesdk_fetching", default=False)


def _without_queries(record: logging.LogRecord) -> bool:
    """Take the signatures out of the URLs of pictures, which httpx logs whole."""
    if _fetching.get() and isinstance(record.args, tuple):
        record.args = tuple(
            each.copy_with(query=None) if isinstance(each, httpx.URL) else each for each in record.args
        )
    return True


def _no_credentials(request: httpx.Request) -> httpx.Request:
    return request  # httpx would take some from the environment's .netrc


class _Opened:
    """The socket that an exchange opened, if it did: HTTP libraries lose one that is cancelled in its TLS handshake.

    Called by httpcore: https://www.encode.io/httpcore/extensions/#trace
    """

    def __init__(self) -> None:
        self._stream: Any = None

    async def __call__(self, event: str, facts: Mapping[str, Any]) -> None:
        if event.endswith("connect_tcp.complete"):
            self._stream = facts["return_value"]

    async def aclose(self) -> None:
        if self._stream is not None:
            await self._stream.aclose()


_endpoint = lru_cache(maxsize=32)(httpx.URL)


def _httpx_request(request: Outgoing, trace: _Opened | None = None) -> httpx.Request:
    # That of an endpoint is read once; those of pictures are not kept, for they may be signed.
    url = _endpoint(request.url) if request.method == "POST" else httpx.URL(request.url)
    headers = list(request.headers)
    if not any(name == "host" for name, _ in headers):
        headers.insert(0, ("host", url.netloc.decode("ascii")))
    extensions: dict[str, object] = {
        "timeout": {"connect": request.connect_timeout, "read": None, "write": None, "pool": None}
    }
    if trace is not None:
        extensions["trace"] = trace
    if request.server_name is not None:
        extensions["sni_hostname"] = request.server_name
    return httpx.Request(
        request.method,
        url,
        headers=headers,
        stream=_Body(request.body) if request.body is not None else httpx.ByteStream(b""),
        extensions=extensions,
    )


class _Body(httpx.AsyncByteStream):
    """A body for httpx as it is, without the generator that httpx would put around it."""

    def __init__(self, body: AsyncIterable[bytes]) -> None:
        self._body = body

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._body)


async def _finish(response: httpx.Response, body: _Pieces) -> bool:
    """End an exchange; return whether it ended of itself, so that its connection can be used again."""
    if body.ended:
        return True
    with anyio.CancelScope(shield=True) as scope, suppress(Exception):
        scope.cancel()
        async for _ in body:  # lets the cancellation end every generator of the HTTP library in its turn
            pass
    with anyio.move_on_after(RELEASE_LIMIT, shield=True), suppress(Exception):
        await response.aclose()
    return False


class _Pieces:
    """The body of an answer, and whether it was read to its end and its connection let go of.

    ``response.is_closed`` says so too early: a task may be cancelled while the connection is being let go of.
    """

    def __init__(self, response: httpx.Response) -> None:
        self._pieces = response.aiter_raw()
        self.ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        with _wire_errors(connecting=False):
            async for piece in self._pieces:
                return piece
        self.ended = True
        raise StopAsyncIteration


class _wire_errors:  # noqa: N801 - read as a word of the language
    """Turns every failure of the HTTP library into :class:`WireError`."""

    def __init__(self, *, connecting: bool, url: str | None = None) -> None:
        self._connecting = connecting
        self._url = url

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, WireError):
            if isinstance(error, httpx.RequestError):
                with suppress(RuntimeError):
                    error.request.headers.pop("authorization", None)  # a cause travels with its error
            connecting = self._connecting and isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout))
            words = _words(error)
            said = f"{type(error).__name__}: {words}" if words else type(error).__name__
            if connecting and self._url is not None and (proxy := proxy_for(self._url)):
                said += f"; the environment names the proxy {shown_proxy(proxy)}"
            raise WireError(
                said, connecting=connecting, timed_out=isinstance(error, httpx.TimeoutException)
            ) from error


def _words(error: BaseException) -> str:
    """Return what an error says, or the one behind it that says something: some lose it on the way."""
    behind: BaseException | None = error
    while behind is not None:
        if text := str(behind):
            return text
        behind = behind.__cause__ or behind.__context__
    return ""


def _joined(headers: httpx.Headers) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


async def _close(thing: Slot | _Opened) -> None:
    with anyio.move_on_after(RELEASE_LIMIT, shield=True), suppress(Exception):
        await thing.aclose()
