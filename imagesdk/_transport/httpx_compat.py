"""httpx and httpx2: two libraries of one shape whose objects do not mix. Which of them a thing is of, and what their
errors mean and hold.

Neither is imported here: a client of the user's has brought its library along, and what this program has not loaded it
cannot meet.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from typing import Any, Protocol

NAMES = ("httpx", "httpx2")


class HTTPClient(Protocol):
    """What is needed of an ``httpx.AsyncClient`` or an ``httpx2.AsyncClient``."""

    @property
    def is_closed(self) -> bool:
        """Whether it can send nothing more."""
        ...

    async def send(
        self, request: Any, *, stream: bool = ..., auth: Any = ..., follow_redirects: Any = ...
    ) -> Any:
        """Send a request of the same library and return the answer, unread."""
        ...

    async def aclose(self) -> None:
        """Close its connections."""
        ...


class HTTPResponse(Protocol):
    """What is needed of an ``httpx.Response`` or an ``httpx2.Response``."""

    @property
    def status_code(self) -> int:
        """The status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Repeated ones joined by a comma."""
        ...

    @property
    def is_stream_consumed(self) -> bool:
        """Whether its body was read by somebody."""
        ...

    @property
    def is_closed(self) -> bool:
        """Whether its connection was let go of."""
        ...

    def aiter_bytes(self) -> AsyncIterator[bytes]:
        """Read the plain body, which may have been read before."""
        ...

    def aiter_raw(self) -> AsyncIterator[bytes]:
        """Read the body as it comes, still compressed."""
        ...

    async def aclose(self) -> None:
        """Let go of the connection."""
        ...


def httpx_module_of(thing: object, *kinds: str) -> Any | None:
    """Return the library of which ``thing`` is an instance, or a subclass, of one of the classes named ``kinds``."""
    for name in NAMES:
        library = sys.modules.get(name)
        classes = tuple(getattr(library, kind) for kind in kinds if hasattr(library, kind))
        if isinstance(thing, classes) or (isinstance(thing, type) and issubclass(thing, classes)):
            return library
    return None


def is_mislabelled_timeout(error: BaseException) -> bool:
    """Whether ``error`` is called a time-out and stands for something else.

    httpx-aiohttp calls every broken connection a time-out of connecting:
    https://github.com/karpetrosyan/httpx-aiohttp
    """
    return _is_of_aiohttp(error.__cause__) and not isinstance(error.__cause__, TimeoutError)


def redact_key(error: BaseException) -> None:
    """Take the key out of what an error holds, and those behind it: causes travel with their error."""
    for link in _links(error):
        if httpx_module_of(link, "RequestError") is not None:
            with suppress(RuntimeError):  # it holds no request
                holder: Any = link
                for name in _KEY_HEADERS:
                    holder.request.headers.pop(name, None)
        elif _is_of_aiohttp(link):
            link.__traceback__ = None  # its frames have the headers for variables
            if (info := getattr(link, "request_info", None)) is not None:
                link.args = ()
                vars(link)["request_info"] = info._replace(headers={})


_KEY_HEADERS = ("authorization", "api-key")


def _links(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__


def _is_of_aiohttp(error: BaseException | None) -> bool:
    aiohttp: Any = sys.modules.get("aiohttp")
    return aiohttp is not None and isinstance(error, aiohttp.ClientError)
