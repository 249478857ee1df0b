"""Fetches result URLs: without the key, checked, with a cap, and again when that can help.

A URL on the base URL's own origin is always fetched. Any other must be https, and its host must have public
addresses only; the connection goes to the address that was checked. Each redirect, three at most, is checked again.
"""

from __future__ import annotations

import ipaddress
import random
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from urllib.parse import urljoin, urlsplit, urlunsplit

import anyio
import anyio.lowlevel
import httpx
from attrs import frozen

from imagesdk._engine.sink import ImageSink, ReceivedImage, discard
from imagesdk._media.sniff import BINARY, OCTET_STREAM, is_text
from imagesdk._protocol.decompression import Decompressor
from imagesdk._protocol.hosts import Host
from imagesdk._protocol.retry import backoff
from imagesdk._protocol.scanner import ImageEnd, ImagePiece, ImageStart, ScanError
from imagesdk._protocol.server_limits import parse_server_limits
from imagesdk._transport.exchange import Transport, TransportError, WireRequest, WireResponse
from imagesdk.errors import DownloadError
from imagesdk.policies import Caps, RetryPolicy

_REDIRECTS = 3
_SHOWN = 200
"""Characters of a URL in an error: a ``data:`` URL is a whole picture."""
_HEAD = 512
"""Bytes that are enough to tell text from a picture."""
_TRANSIENT = frozenset({408, 425, 429})
_UNTOLD = frozenset({OCTET_STREAM, "binary/octet-stream"})
_MOVED = frozenset({301, 302, 303, 307, 308})


@frozen
class _RefusedError(Exception):
    """An answer that is not the picture."""

    status: int
    wait: float | None


class Downloader:
    """Fetches pictures for one client."""

    def __init__(
        self, host: Host, transport: Transport, retry: RetryPolicy, caps: Caps, user_agent: str
    ) -> None:
        self._host = host
        self._transport = transport
        self._retry = retry
        self._caps = caps
        self._user_agent = user_agent

    def with_options(self, *, retry: RetryPolicy | None, caps: Caps | None) -> Downloader:
        """Return one on the same connections that differs in what is given."""
        return Downloader(
            self._host, self._transport, retry or self._retry, caps or self._caps, self._user_agent
        )

    async def fetch(
        self, url: str, sink: ImageSink, *, connect_timeout: float | None, timeout: float | None
    ) -> ReceivedImage:
        """Put the picture behind ``url`` into ``sink`` and return it.

        Raises:
            DownloadError: it is not safe to fetch, or could not be fetched.
            OSError: the disk refuses.
        """
        url = _absolute(self._host.result_url, url)
        try:
            with anyio.fail_after(timeout):
                await self._persistently(url, sink, connect_timeout)
                return sink.images[0]
        except TimeoutError:
            raise DownloadError(f"{_shown(url)} did not arrive within {timeout:.3g} s.") from None

    async def _persistently(self, url: str, sink: ImageSink, connect_timeout: float | None) -> None:
        attempt = 0
        while True:
            attempt += 1
            status: int | None = None
            wait: float | None = None
            try:
                return await self._follow(url, sink, connect_timeout)
            except TransportError as error:
                problem, again = str(error), True
            except _RefusedError as refusal:
                status, wait = refusal.status, refusal.wait
                again = status >= 500 or status in _TRANSIENT
                problem = f"status {status}"
                if status in {403, 404, 410}:
                    problem += "; result URLs stop working after a while (an hour, in the API of 2023)"
            if not again or attempt >= self._retry.max_attempts or (wait or 0) > self._retry.max_retry_after:
                raise DownloadError(f"{_shown(url)} could not be fetched: {problem}.", status_code=status)
            await discard(sink)
            await anyio.sleep((wait or 0.0) + backoff(self._retry, attempt, random.random()))  # noqa: S311 - jitter

    async def _follow(self, url: str, sink: ImageSink, connect_timeout: float | None) -> None:
        for _ in range(_REDIRECTS + 1):
            moved_to = await self._get(url, sink, connect_timeout)
            if moved_to is None:
                return
            url = _absolute(partial(urljoin, url), moved_to)
        raise DownloadError(f"{_shown(url)} was reached after too many redirects.")

    async def _get(self, url: str, sink: ImageSink, connect_timeout: float | None) -> str | None:
        """Fetch the picture, or return where it has moved to."""
        request = await self._checked(url, connect_timeout)
        async with self._transport.exchange(request) as incoming:
            location = incoming.headers.get("location")
            if incoming.status in _MOVED and location:
                return location
            if incoming.status != 200:
                raise _RefusedError(
                    incoming.status, parse_server_limits(incoming.headers, "", datetime.now(UTC)).wait
                )
            try:
                head = await self._receive(incoming, sink)
                self._check_image(incoming, sink.images[0], head, url)
            except ScanError as error:
                raise DownloadError(f"{_shown(url)} could not be read: {error}.") from None
            return None

    def _check_image(self, incoming: WireResponse, received: ReceivedImage, head: bytes, url: str) -> None:
        """Refuse a page that says something about a picture instead of being one."""
        if received.facts.media_type is not None:
            return
        kind = incoming.headers.get("content-type", "").partition(";")[0].strip().lower()
        may_be_one = not kind or kind.startswith("image/") or kind in _UNTOLD
        if may_be_one and not (is_text(head) and (kind in BINARY or not kind.startswith("image/"))):
            return
        what = kind if not may_be_one else f"text, which is called {kind}" if kind else "text"
        raise DownloadError(f"{_shown(url)} is no picture but {what}.", status_code=incoming.status)

    async def _receive(self, incoming: WireResponse, sink: ImageSink) -> bytes:
        """Put the picture into the sink and return how it begins."""
        inflater = Decompressor(incoming.headers.get("content-encoding"))
        size, head = 0, b""
        await sink.write(ImageStart(0))
        async for raw in incoming.body:
            for number, piece in enumerate(inflater.feed(raw)):
                if number:
                    await anyio.lowlevel.checkpoint()
                size += len(piece)
                if size > self._caps.image:
                    raise ScanError(f"it is larger than {self._caps.image} bytes (see caps= of the client)")
                head += piece[: _HEAD - len(head)]
                await sink.write(ImagePiece(0, piece))
        inflater.finish()
        if not size:
            raise ScanError("it is empty")
        await sink.write(ImageEnd(0))
        return head

    async def _checked(self, url: str, connect_timeout: float | None) -> WireRequest:
        headers = {"accept": "image/*", "accept-encoding": "identity", "user-agent": self._user_agent}
        if self._host.is_same_origin(url):
            return WireRequest("GET", url, tuple(headers.items()), connect_timeout=connect_timeout)
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise DownloadError(
                f"{_shown(url)} is not https, and not on the server that was asked: not fetched."
            )
        address = await self._public_address(parts.hostname, parts.port or 443, url)
        headers["host"] = parts.netloc.rpartition("@")[2]
        netloc = f"[{address}]" if ":" in address else address
        netloc += f":{parts.port}" if parts.port else ""
        return WireRequest(
            "GET",
            urlunsplit((parts.scheme, netloc, parts.path, parts.query, "")),
            tuple(headers.items()),
            connect_timeout=connect_timeout,
            server_name=parts.hostname,
        )

    async def _public_address(self, hostname: str, port: int, url: str) -> str:
        try:
            found = await anyio.getaddrinfo(hostname, port, type=socket.SOCK_STREAM)
        except UnicodeError:
            raise DownloadError(f"{_shown(url)!r} is not a URL that can be fetched.") from None
        except OSError as error:
            raise TransportError(
                f"{hostname} has no address ({error})", connecting=True, timed_out=False
            ) from error
        addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
        for address in addresses:
            if not _is_public(address):
                raise DownloadError(f"{_shown(url)} is on a private address ({address}): not fetched.")
        if not addresses:
            raise TransportError(f"{hostname} has no address", connecting=True, timed_out=False)
        return addresses[0]


_UNICAST = ipaddress.ip_network("2000::/3")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_WITHIN = tuple(map(ipaddress.ip_network, ("2002::/16", "2001::/23", "3fff::/20", "192.0.0.0/24")))
"""What some versions of Python take for public: ways of writing other addresses, and those of no one."""


def _is_public(address: str) -> bool:
    """Whether an address is one of the Internet's, and no way of writing another.

    https://www.iana.org/assignments/iana-ipv6-special-registry
    """
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        carried = ip.ipv4_mapped or (ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None)
        if carried is None and ip not in _UNICAST:
            return False
        ip = carried or ip
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _WITHIN)


def _absolute(join: Callable[[str], str], url: str) -> str:
    """Return ``url`` made absolute by ``join``.

    Raises:
        DownloadError: it is no URL at all.
    """
    try:
        joined = join(url)
        _ = urlsplit(joined).port
        httpx.URL(joined)
    except (ValueError, httpx.InvalidURL):
        raise DownloadError(f"{_shown(url)!r} is not a URL that can be fetched.") from None
    return joined


def _shown(url: str) -> str:
    """A URL without its query, which holds the signature that makes it work, and without a password."""
    scheme, separator, rest = url.partition("?")[0].partition("#")[0].partition("//")
    authority, slash, path = rest.partition("/")
    shown = f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
