"""Downloads of result URLs: without the key, checked, with a size cap, and retried.

======================================================  =====================================================
URL                                                     fetched
======================================================  =====================================================
on the origin of the base URL                           always
on another name of this machine, with the base URL and  from the base URL's origin: servers often name the
its port on this machine                                address that they are bound to
on a host of ``trusted_result_hosts=``                  always
any other                                               if it is https and has public addresses only, from
                                                        the address that was checked
======================================================  =====================================================

Each redirect, three at most, is checked again.
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
import httpx
from attrs import define, evolve, frozen

from imagesdk._engine.response import DecompressedBody, copy_image, media_type_of, reason_of
from imagesdk._engine.sink import TEXT_HEAD, ImageSink, ReceivedImage, discard
from imagesdk._engine.tokens import BearerTokenSource, known_key
from imagesdk._media.sniff import BINARY, OCTET_STREAM, is_text
from imagesdk._protocol.hosts import Host
from imagesdk._protocol.retry import Failure, RetryAfter, decide
from imagesdk._protocol.scanner import ScanError, TooLargeError
from imagesdk._protocol.secret import NO_KEY, Secret
from imagesdk._protocol.server_limits import parse_server_limits
from imagesdk._runtime.threads import lacking
from imagesdk._transport.exchange import Transport, TransportError, WireRequest, WireResponse
from imagesdk.errors import APIConnectionError, APIStatusError, DownloadError
from imagesdk.policies import Caps, RetryPolicy
from imagesdk.remedies import Remedy

_MAX_REDIRECTS = 3
_MAX_SHOWN = 200
"""Characters of a URL in an error: a ``data:`` URL is a whole image."""
_TRANSIENT = frozenset({408, 425, 429})
_EXPIRED = frozenset({403, 404, 410})
_UNTYPED = frozenset({"", OCTET_STREAM, "binary/octet-stream"})
_MOVED = frozenset({301, 302, 303, 307, 308})


@frozen(eq=False)
class Downloader:
    """The downloads of one client."""

    _host: Host
    _transport: Transport
    _retry: RetryPolicy
    _caps: Caps
    _user_agent: str
    _key: Secret | BearerTokenSource = NO_KEY
    """The key, which no request carries. A server that knows it may put it into a response."""
    _trusted_hosts: frozenset[str] = frozenset()
    """Hosts whose URLs are fetched unchecked, in lower case."""

    def with_options(self, *, retry: RetryPolicy, caps: Caps, trusted_hosts: frozenset[str]) -> Downloader:
        """Return a downloader on the same connections with other options."""
        return evolve(self, retry=retry, caps=caps, trusted_hosts=trusted_hosts)

    async def fetch(
        self, url: str, sink: ImageSink, *, connect_timeout: float | None, timeout: float | None
    ) -> ReceivedImage:
        """Fetch the image at ``url`` into ``sink``, and return it.

        Raises:
            DownloadError: If the URL is not safe to fetch, or the image could not be fetched.
            OSError: If the image cannot be written.
        """
        url = _absolute(self._host.result_url, url)
        try:
            with anyio.fail_after(timeout):
                await self._fetch(url, sink, connect_timeout)
                return sink.images[0]
        except TimeoutError:
            raise DownloadError(f"{_redacted(url)} did not arrive within {timeout:.3g} s.") from None

    async def _fetch(self, url: str, sink: ImageSink, connect_timeout: float | None) -> None:
        """Make attempts until one succeeds, as the retry policy allows."""
        attempt = 1
        while (failure := await self._attempt(url, sink, connect_timeout)) is not None:
            decision = decide(
                failure,
                policy=self._retry,
                attempt=attempt,
                maybe_billed_retries=0,
                limited=False,
                remaining=None,
                chance=random.random(),  # noqa: S311 - jitter
                billed=False,
            )
            if not isinstance(decision, RetryAfter):
                message = f"{_redacted(url)} could not be fetched: {failure.error}."
                raise DownloadError(message, status_code=getattr(failure.error, "status_code", None))
            await discard(sink)
            await anyio.sleep(decision.delay)
            attempt += 1

    async def _attempt(self, url: str, sink: ImageSink, connect_timeout: float | None) -> Failure | None:
        """Fetch the image, following redirects; return why that failed."""
        try:
            for _ in range(_MAX_REDIRECTS + 1):
                outcome = await self._get(url, sink, connect_timeout)
                if not isinstance(outcome, str):
                    return outcome
                url = _absolute(partial(urljoin, url), outcome)
        except TransportError as error:
            return Failure(APIConnectionError(reason_of(error, known_key(self._key))), "never_sent")
        except (MemoryError, RuntimeError) as error:
            if (lack := lacking(error)) is None:
                raise
            raise DownloadError(f"This machine has {lack} to fetch {_redacted(url)}.") from error
        raise DownloadError(f"{_redacted(url)} was reached after too many redirects.")

    async def _get(self, url: str, sink: ImageSink, connect_timeout: float | None) -> Failure | str | None:
        """Fetch the image; return the failure of a status, or the URL of a redirect."""
        request = await self._checked(url, connect_timeout)
        async with self._transport.exchange(request) as received:
            clean = known_key(self._key).removed_from
            headers = {name: clean(value) for name, value in received.headers.items()}
            response = evolve(received, headers=headers)
            location = response.headers.get("location")
            if response.status in _MOVED and location:
                return location
            if response.status != 200:
                return _status_failure(response)
            count = _SizeLimit(self._caps.image)
            try:
                await copy_image(DecompressedBody(response), sink, count)
                if not count.size:
                    raise ScanError("it is empty")
            except ScanError as error:
                remedies = (Remedy.RAISE_CAPS,) if isinstance(error, TooLargeError) else ()
                message = f"{_redacted(url)} could not be read: {error}."
                raise DownloadError(message, remedies=remedies) from None
            _check_image(response, sink.images[0], count.head, url)
            return None

    async def _checked(self, url: str, connect_timeout: float | None) -> WireRequest:
        """Return the request for a URL that is safe to fetch."""
        headers = {"accept": "image/*", "accept-encoding": "identity", "user-agent": self._user_agent}
        url = self._host.own_url(url) or url
        parts = urlsplit(url)
        if self._host.is_same_origin(url) or (
            parts.hostname in self._trusted_hosts and parts.scheme in {"http", "https"}
        ):
            return WireRequest("GET", url, tuple(headers.items()), connect_timeout=connect_timeout)
        if parts.scheme != "https" or not parts.hostname:
            message = f"{_redacted(url)} is not https, and not on the server that was asked: not fetched."
            raise DownloadError(message, remedies=_untrusted(parts.hostname))
        address = await self._public_address(parts.hostname, parts.port or 443, url)
        headers["host"] = parts.netloc.rpartition("@")[2]
        netloc = f"[{address}]" if ":" in address else address
        netloc += f":{parts.port}" if parts.port else ""
        url = urlunsplit((parts.scheme, netloc, parts.path, parts.query, ""))
        return WireRequest("GET", url, tuple(headers.items()), None, connect_timeout, parts.hostname)

    async def _public_address(self, hostname: str, port: int, url: str) -> str:
        """Return an address of a host whose addresses are all public."""
        try:
            found = await anyio.getaddrinfo(hostname, port, type=socket.SOCK_STREAM)
        except UnicodeError:
            raise DownloadError(f"{_redacted(url)!r} is not a URL that can be fetched.") from None
        except OSError as error:
            message = f"{hostname} has no address ({error})"
            raise TransportError(message, connecting=True, timed_out=False) from error
        addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
        for address in addresses:
            if not _is_public(address):
                message = f"{_redacted(url)} is on a private address ({address}): not fetched."
                raise DownloadError(message, remedies=_untrusted(hostname))
        if not addresses:
            raise TransportError(f"{hostname} has no address", connecting=True, timed_out=False)
        return addresses[0]


def _untrusted(hostname: str | None) -> tuple[Remedy, ...]:
    """Return the remedies for a URL that is not safe to fetch."""
    return (Remedy.ASK_FOR_BASE64, *([Remedy.TRUST_RESULT_HOST.of(hostname)] if hostname else []))


_UNICAST = ipaddress.ip_network("2000::/3")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_SPECIAL = tuple(map(ipaddress.ip_network, ("2002::/16", "2001::/23", "3fff::/20", "192.0.0.0/24")))
"""Networks that some versions of Python take for public: other spellings of addresses, and reserved ones."""


def _is_public(address: str) -> bool:
    """Whether an address is public: https://www.iana.org/assignments/iana-ipv6-special-registry."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = ip.ipv4_mapped or (ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None)
        if embedded is None and ip not in _UNICAST:
            return False
        ip = embedded or ip
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _SPECIAL)


def _absolute(join: Callable[[str], str], url: str) -> str:
    """Return ``url`` made absolute by ``join``."""
    try:
        joined = join(url)
        _ = urlsplit(joined).port
        httpx.URL(joined)
    except (ValueError, httpx.InvalidURL):
        raise DownloadError(f"{_redacted(url)!r} is not a URL that can be fetched.") from None
    return joined


def _status_failure(response: WireResponse) -> Failure:
    status = response.status
    hint = " (result URLs expire, in the API of 2023 after an hour)" if status in _EXPIRED else ""
    return Failure(
        APIStatusError(f"status {status}{hint}", status_code=status),
        "unknown" if status >= 500 else "refused",
        parse_server_limits(response.headers, "", datetime.now(UTC)),
        should_retry=status >= 500 or status in _TRANSIENT,
    )


@define
class _SizeLimit:
    """Counts the bytes of an image, keeps the first ones, and raises ``ScanError`` beyond a limit."""

    limit: int
    size: int = 0
    head: bytes = b""

    def __call__(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.size > self.limit:
            raise TooLargeError(f"it is larger than {self.limit} bytes")
        self.head += piece[: TEXT_HEAD - len(self.head)]


def _check_image(response: WireResponse, received: ReceivedImage, head: bytes, url: str) -> None:
    """Reject a page that describes an image, or the lack of one."""
    if received.facts.media_type is not None:
        return
    media_type = media_type_of(response.headers)
    declared = media_type.startswith("image/")
    possible = declared or media_type in _UNTYPED
    if possible and not (is_text(head) and (media_type in BINARY or not declared)):
        return
    found = media_type
    if possible:
        found = f"text, which is called {media_type}" if media_type else "text"
    raise DownloadError(f"{_redacted(url)} is not an image but {found}.", status_code=response.status)


def _redacted(url: str) -> str:
    """Return a URL without its query, which may hold a signature, and without a password."""
    scheme, separator, rest = url.partition("?")[0].partition("#")[0].partition("//")
    authority, slash, path = rest.partition("/")
    shown = f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"
    return shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}..."
