"""Bytes out, bytes in: the seam to the HTTP libraries, and what an exchange with any of them takes.

What carries an exchange is a connection of our own (:mod:`imagesdk._transport.single_connection`) or a client of the user's
(:mod:`imagesdk._transport.user_client`). Neither follows a redirect, adds credentials of its own or sets a time-out but the
one for connecting.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from functools import cache, lru_cache
from typing import Any, Protocol, Self

import anyio
from attrs import field, frozen

from imagesdk._transport.environment import proxy_for, redacted_proxy
from imagesdk._transport.httpx_compat import HTTPResponse, httpx_module_of, is_mislabelled_timeout, redact_key

RELEASE_LIMIT = 5.0
"""Seconds that closing a connection may take."""


class TransportError(Exception):
    """The exchange broke. The cause is chained."""

    def __init__(self, message: str, *, connecting: bool, timed_out: bool) -> None:
        super().__init__(message)
        self.connecting = connecting
        self.timed_out = timed_out


@frozen
class WireRequest:
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
class WireResponse:
    """The head of an answer, and its body as raw bytes, still compressed."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case; repeated ones joined by a comma."""
    body: AsyncIterator[bytes]


class Transport(Protocol):
    """Carries one exchange at a time."""

    def exchange(self, request: WireRequest) -> AbstractAsyncContextManager[WireResponse]:
        """Send ``request``; leaving the block ends the exchange, read or not.

        Raises:
            WireError: on entering the block or reading the body.
        """
        ...

    async def aclose(self) -> None:
        """Close what belongs to the running loop."""
        ...


def request_of(library: Any, request: WireRequest, trace: object = None) -> Any:
    """Return ``request`` as one of ``library``, httpx or httpx2, with nothing of a client's added.

    Args:
        library: the module.
        request: what is to be sent.
        trace: called by httpcore with what it does, where it is httpcore that does it.
    """
    # That of an endpoint is read once; those of pictures are not kept, for they may be signed.
    url = _endpoint(library, request.url) if request.method == "POST" else library.URL(request.url)
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
    body = {} if request.body is None else {"stream": _body_class(library)(request.body)}
    return library.Request(request.method, url, headers=headers, extensions=extensions, **body)


@lru_cache(maxsize=32)
def _endpoint(library: Any, url: str) -> Any:
    return library.URL(url)


class _Body:
    """A body as it is, without the generator that httpx would put around it."""

    def __init__(self, body: AsyncIterable[bytes]) -> None:
        self._body = body

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._body)


@cache
def _body_class(library: Any) -> Any:
    return type("Body", (_Body, library.AsyncByteStream), {})


class BodyIterator:
    """The body of an answer, and whether it was read to its end and its connection let go of.

    ``response.is_closed`` says so too early: a task may be cancelled while the connection is being let go of.
    """

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self.ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        with transport_errors(connecting=False):
            async for piece in self._pieces:
                return piece
        self.ended = True
        raise StopAsyncIteration


async def finish(response: HTTPResponse, body: BodyIterator) -> bool:
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


class transport_errors:  # noqa: N801 - read as a word of the language
    """Turns every failure of an HTTP library into :class:`TransportError`."""

    def __init__(self, *, connecting: bool, url: str | None = None) -> None:
        self._connecting = connecting
        self._url = url

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, TransportError):
            redact_key(error)
            misnamed = is_mislabelled_timeout(error)
            named = error.__cause__ if misnamed else error
            words = _words(error)
            said = f"{type(named).__name__}: {words}" if words else type(named).__name__
            connecting = (
                self._connecting and httpx_module_of(error, "ConnectError", "ConnectTimeout") is not None
            )
            if connecting and self._url is not None and (proxy := proxy_for(self._url)):
                said += f"; the environment names the proxy {redacted_proxy(proxy)}"
            timed_out = not misnamed and httpx_module_of(error, "TimeoutException") is not None
            raise TransportError(said, connecting=connecting, timed_out=timed_out) from error


def _words(error: BaseException) -> str:
    """Return what an error says, or the one behind it that says something: some lose it on the way."""
    behind: BaseException | None = error
    while behind is not None:
        if text := str(behind):
            return text
        behind = behind.__cause__ or behind.__context__
    return ""


def joined(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers with their names in lower case."""
    return {name.lower(): value for name, value in headers.items()}
