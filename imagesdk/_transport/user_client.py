"""The transport over a client of the user: an ``httpx.AsyncClient``, an ``httpx2.AsyncClient``, or a factory of them.

The connections of that client are used, with its proxies, certificates, mounts, event hooks and HTTP/2. Its headers,
cookies, parameters, credentials, time-outs and redirects are not.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, TypeGuard, cast

from imagesdk._runtime.loops import PerLoop
from imagesdk._transport.exchange import (
    BodyIterator,
    WireRequest,
    WireResponse,
    close,
    finish,
    request_of,
    transport_error,
)
from imagesdk._transport.httpx_compat import HTTPClient, HTTPResponse, httpx_module_of
from imagesdk.errors import ConfigurationError

_WANTED = "http_client= takes an httpx.AsyncClient, an httpx2.AsyncClient, or a function that makes one"

_LOGGERS = ("httpx", "httpx2", "hpack.hpack")
"""Loggers that write whole URLs, and with HTTP/2 the values of headers."""


class UserClientTransport:
    """An HTTP client of the user, or one that a factory makes for each event loop."""

    def __init__(self, client: object) -> None:
        self._clients: HTTPClient | PerLoop[HTTPClient]
        if _is_client(client):
            self._clients = client
        elif callable(client) and httpx_module_of(client, "Client") is None:
            self._clients = PerLoop(_validated(client))
        else:
            raise _wrong_client(client)
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(_without_secrets)

    @asynccontextmanager
    async def exchange(self, request: WireRequest) -> AsyncGenerator[WireResponse, None]:
        """Send ``request`` with the user's client."""
        client = self._clients.get() if isinstance(self._clients, PerLoop) else self._clients
        if client.is_closed:
            raise ConfigurationError(
                "The client of http_client= was closed, and nothing can be sent with it: keep it open for as long as "
                "this one is used, or pass a function that makes one."
            )
        previous = _method.set(request.method)
        try:
            response = await _send(client, request)
        except Exception as error:
            raise transport_error(error, connecting=True) from error
        finally:
            _method.reset(previous)
        headers = dict(response.headers.items())
        if response.is_stream_consumed:  # by an event hook
            headers.pop("content-encoding", None)
            body = BodyIterator(response.aiter_bytes())
        else:
            body = BodyIterator(_empty_body() if response.is_closed else response.aiter_raw())
        try:
            yield WireResponse(response.status_code, headers, body)
        finally:
            await finish(response, body)

    async def aclose(self) -> None:
        """Close the client that a factory made. A client of the user stays open."""
        if isinstance(self._clients, PerLoop) and (client := self._clients.pop()) is not None:
            await close(client)


async def _send(client: HTTPClient, request: WireRequest) -> HTTPResponse:
    """Send a request and return the response, also if an event hook raises for its status."""
    sent = request_of(httpx_module_of(client, "AsyncClient"), request)
    response: HTTPResponse
    try:
        response = await client.send(sent, stream=True, follow_redirects=False, auth=_no_credentials)
    except Exception as error:
        status_error: Any = error
        if httpx_module_of(error, "HTTPStatusError") is None or status_error.request is not sent:
            raise
        response = status_error.response
    return response


async def _empty_body() -> AsyncGenerator[bytes, None]:
    """Yield nothing: the body of a response that was closed before it was read."""
    for piece in list[bytes]():
        yield piece


def _no_credentials(request: Any) -> Any:
    return request  # the client's credentials are not for this server, and the URL of an image may hold some


def _is_client(thing: object) -> TypeGuard[HTTPClient]:
    return not isinstance(thing, type) and httpx_module_of(thing, "AsyncClient") is not None


def _validated(factory: Callable[[], object]) -> Callable[[], HTTPClient]:
    """Return a factory that raises if its product is no client."""

    def make() -> HTTPClient:
        product = factory()
        if _is_client(product):
            return product
        if inspect.iscoroutine(product):
            product.close()
        raise _wrong_client(product)

    return make


def _wrong_client(thing: object) -> ConfigurationError:
    kind = thing if isinstance(thing, type) else type(thing)
    name = f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"
    if (library := httpx_module_of(thing, "Client")) is not None:
        advice = (
            f"{name} is a blocking one. Pass {library.__name__}.AsyncClient(...) with the same arguments, to the blocking "
            "Client too: it runs on the loop behind it."
        )
    elif (library := httpx_module_of(thing, "BaseTransport", "AsyncBaseTransport")) is not None:
        advice = f"{name} is a transport: pass {library.__name__}.AsyncClient(transport=...)."
    elif name == "aiohttp.ClientSession":
        advice = (
            "aiohttp is used through httpx-aiohttp: pass "
            "lambda: httpx.AsyncClient(transport=httpx_aiohttp.AiohttpTransport())."
        )
    elif inspect.iscoroutine(thing):
        advice = "the function must not be an async one."
    else:
        advice = f"not {name}."
    return ConfigurationError(f"{_WANTED}: {advice}")


_method: ContextVar[str] = ContextVar("imagesdk_request_method", default="")
"""The method of the request that is being sent."""


def _without_secrets(record: logging.LogRecord) -> bool:
    """Remove the signatures from the URLs of images, and drop records that show headers."""
    if record.name.startswith("hpack"):
        return not _method.get()
    if _method.get() == "GET" and isinstance(record.args, tuple):
        record.args = tuple(
            cast("Any", each).copy_with(query=None) if httpx_module_of(each, "URL") is not None else each
            for each in record.args
        )
    return True
