"""Differences between httpx and httpx2, which have the same interface and separate classes.

Neither is imported here. A client of the user has imported its library, and objects of a library that is not imported
do not exist.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from typing import Any, Protocol

NAMES = ("httpx", "httpx2")


class HTTPClient(Protocol):
    """The part of ``httpx.AsyncClient`` and ``httpx2.AsyncClient`` that the package uses."""

    @property
    def is_closed(self) -> bool:
        """Whether the client was closed."""
        ...

    async def send(
        self, request: Any, *, stream: bool = ..., auth: Any = ..., follow_redirects: Any = ...
    ) -> Any:
        """Send a request of the same library and return the response, unread."""

    async def aclose(self) -> None:
        """Close the connections of the client."""


class HTTPResponse(Protocol):
    """The part of ``httpx.Response`` and ``httpx2.Response`` that the package uses."""

    @property
    def status_code(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def is_stream_consumed(self) -> bool: ...
    @property
    def is_closed(self) -> bool: ...
    def aiter_bytes(self) -> AsyncIterator[bytes]: ...
    def aiter_raw(self) -> AsyncIterator[bytes]: ...
    async def aclose(self) -> None: ...


def httpx_module_of(thing: object, *kinds: str) -> Any | None:
    """Return the library that has ``thing`` as an instance, or a subclass, of one of its classes ``kinds``."""
    for name in NAMES:
        library = sys.modules.get(name)
        classes = tuple(getattr(library, kind) for kind in kinds if hasattr(library, kind))
        if isinstance(thing, classes) or (isinstance(thing, type) and issubclass(thing, classes)):
            return library
    return None


def is_mislabelled_timeout(error: BaseException) -> bool:
    """Whether ``error`` is no time-out in fact: httpx-aiohttp raises a connect time-out for every broken connection."""
    return _is_of_aiohttp(error.__cause__) and not isinstance(error.__cause__, TimeoutError)


def redact_key(error: BaseException) -> None:
    """Remove the key from the request of an error and of its causes."""
    for link in causes_of(error):
        if httpx_module_of(link, "RequestError") is not None:
            with suppress(RuntimeError):  # the error has no request
                error_with_request: Any = link
                for name in _KEY_HEADERS:
                    error_with_request.request.headers.pop(name, None)
        elif _is_of_aiohttp(link):
            link.__traceback__ = None  # the variables of its frames hold the headers
            if (info := getattr(link, "request_info", None)) is not None:
                link.args = ()
                vars(link)["request_info"] = info._replace(headers={})


_KEY_HEADERS = ("authorization", "api-key")


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, its cause, the cause of that, and so on."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__


def _is_of_aiohttp(error: BaseException | None) -> bool:
    aiohttp: Any = sys.modules.get("aiohttp")
    return aiohttp is not None and isinstance(error, aiohttp.ClientError)
