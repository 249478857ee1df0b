"""Whom we talk to: paths, authentication, which models to name, which result URLs to trust.

Pure functions of a base URL. What is different on Azure is in ``azure.py``. Nothing here opens a connection or looks a name up.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import cast
from urllib.parse import SplitResult, parse_qsl, urlencode, urljoin, urlsplit

from attrs import frozen

from imagesdk._protocol.secret import Secret
from imagesdk.errors import ConfigurationError, InvalidRequestError
from imagesdk.jobs import Job, Variation
from imagesdk.models import catalog
from imagesdk.remedies import Remedy

OPENAI_BASE_URL = "https://api.openai.com/v1"
"""Where the maker of the API serves it."""

_MAKER_HOSTS = frozenset({"api.openai.com", "eu.api.openai.com", "us.api.openai.com"})
AZURE = (".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com")
"""How the names of Azure's hosts end."""
_PORTS = {"http": 80, "https": 443}
_HEADER_NAME = re.compile(
    r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
)  # https://www.rfc-editor.org/rfc/rfc9110#name-tokens
_OWN_HEADERS = frozenset(
    {"authorization", "content-length", "transfer-encoding", "host", "connection", "idempotency-key"}
)
CLIENT_REQUEST_ID = "x-client-request-id"
"""The header that names a request for the server's logs: https://platform.openai.com/docs/api-reference/debugging-requests"""
_LONGEST_ID = 512
"""Characters of its value, which are ASCII."""
_VERSION = re.compile(r"/v\d+\w*(/|\Z)")


@frozen
class Route:
    """Where a request for pictures goes."""

    path: str
    """Below the base URL."""
    model: str | None
    """What the server calls the model."""
    in_body: bool = True
    """Whether the body names it; else the path does."""


@frozen
class Host:
    """A server that speaks the Images API."""

    base_url: str
    """Without a trailing slash, e.g. ``https://api.openai.com/v1``."""
    key_header: str = "authorization"
    """The header that carries the key: as ``Bearer`` in ``authorization``, and bare in any other."""

    @classmethod
    def parse(cls, base_url: str) -> Host:
        """Read a base URL.

        Raises:
            ConfigurationError: it is not an http or https URL, or it holds a user, a query or a fragment.
        """
        text = base_url.strip().rstrip("/")
        parts = _split(text)
        if (
            parts is None
            or parts.scheme not in _PORTS
            or not parts.hostname
            or not text.isprintable()
            or " " in text
        ):
            shown = "one with a user" if "@" in text else repr(base_url)  # and perhaps a password
            raise ConfigurationError.for_parameter(
                "base_url",
                shown,
                allowed=f"a URL such as {OPENAI_BASE_URL} or http://127.0.0.1:8000/v1",
                shown=shown,
            )
        if parts.username is not None or "?" in text or "#" in text:
            raise ConfigurationError(
                "base_url may not hold a user, a password, a query or a fragment.",
                param="base_url",
                remedies=(Remedy.USE_KEY_OPTION,),
            )
        return cls(text)

    @property
    def origin(self) -> str:
        """Scheme, host and port: what a rate limit and trust are bound to."""
        return _origin(urlsplit(self.base_url)) or ""

    @property
    def is_openai(self) -> bool:
        """Whether this is the maker's own service, where a key and a model are always needed."""
        return urlsplit(self.base_url).hostname in _MAKER_HOSTS

    @property
    def needs_key(self) -> bool:
        """Whether nothing is to be had here without a key: with the maker and on Azure."""
        return self.is_openai or (urlsplit(self.base_url).hostname or "").endswith(AZURE)

    @property
    def suggested_base_url(self) -> str | None:
        """The base URL with ``/v1`` added, where its path is without a version; ``None`` where it has one."""
        return None if _VERSION.search(urlsplit(self.base_url).path) else f"{self.base_url}/v1"

    @property
    def uses_list_prices(self) -> bool:
        """Whether the maker's published prices hold: with the maker, on Azure, and on this machine, where an emulator
        stands in for the maker or a proxy leads to it.
        """
        hostname = urlsplit(self.base_url).hostname or ""
        return self.is_openai or hostname.endswith(AZURE) or is_loopback(hostname)

    @property
    def is_secure(self) -> bool:
        """Whether a key is safe on the way there: https, or this very machine."""
        parts = urlsplit(self.base_url)
        return parts.scheme == "https" or is_loopback(parts.hostname or "")

    def url(self, path: str, query: Mapping[str, str] | None = None) -> str:
        """Return the URL of an endpoint such as ``/images/generations``; one that is whole already is kept."""
        where = path if path.startswith(("http://", "https://")) else self.base_url + path
        return where + (f"?{urlencode(query)}" if query else "")

    def target(self, path: str) -> tuple[str, dict[str, str]]:
        """Return what :meth:`url` takes for ``path``, and the query in it; a whole URL must be the server's own.

        Raises:
            InvalidRequestError: it leads elsewhere, or is no path.
        """
        bare, _, query = path.partition("?")
        whole = "://" in bare
        if whole and not self.is_same_origin(bare):
            raise InvalidRequestError(
                f"path must be below {self.base_url}, or a URL on {self.origin}, because the key is sent nowhere else.",
                param="path",
                value=bare,
            )
        if not bare or "#" in path or not path.isascii() or not path.isprintable() or " " in path:
            raise InvalidRequestError(
                "path must be one such as /models, percent-encoded and without a fragment.",
                param="path",
                value=path,
            )
        return bare if whole or bare.startswith("/") else f"/{bare}", dict(
            parse_qsl(query, keep_blank_values=True)
        )

    def result_url(self, url: str) -> str:
        """Return a result's URL, made absolute where the server gave a relative one."""
        return urljoin(self.base_url + "/", url)

    def is_same_origin(self, url: str) -> bool:
        """Whether ``url`` is on the server's own origin, from which results are always fetched."""
        parts = _split(url)
        return parts is not None and _origin(parts) == self.origin

    def default_model(self, job: Job) -> str | None:
        """Return the model to name when none is given: a living one with the maker, none elsewhere."""
        if not self.is_openai:
            return None
        return catalog.OPENAI_VARIATION_MODEL if isinstance(job, Variation) else catalog.OPENAI_GENERATE_MODEL

    def route(self, path: str, model: str | None) -> Route:
        """Return where a request for pictures goes that names ``model``.

        Raises:
            InvalidRequestError: it cannot be said.
        """
        return Route(path, model)

    def resolve_model(self, name: str | None) -> str | None:
        """Return the model whose rules and prices hold where a job names ``name``."""
        return name


def auth_headers(
    key: Secret, organization: str | None, project: str | None, *, header: str = "authorization"
) -> list[tuple[str, str]]:
    """Return the headers that say who asks; none for an empty key."""
    headers: list[tuple[str, str]] = []
    if key:
        headers.append((header, f"Bearer {key.reveal()}" if header == "authorization" else key.reveal()))
    if organization:
        headers.append(("openai-organization", organization))
    if project:
        headers.append(("openai-project", project))
    return headers


def validate_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return headers with lower-case names.

    Raises:
        ConfigurationError: a name or value could smuggle in another header, or is one that we set ourselves.
    """
    checked: list[tuple[str, str]] = []
    for name, value in headers:
        if not isinstance(cast("object", name), str) or not _HEADER_NAME.fullmatch(name):
            raise ConfigurationError(f"{name!r} is not a header name.")
        if not isinstance(cast("object", value), str):
            raise ConfigurationError(
                f"The value of header {name!r} must be a text, not a value of type {type(value).__name__}."
            )
        if not (value.isascii() and value.isprintable()):
            raise ConfigurationError(
                f"The value of header {name!r} holds a line break or a character beyond ASCII."
            )
        if name.lower() in _OWN_HEADERS:
            raise ConfigurationError(
                f"The header {name!r} is set by the client itself.", remedies=(Remedy.USE_CLIENT_OPTIONS,)
            )
        if name.lower() == CLIENT_REQUEST_ID and not 0 < len(value.strip()) <= _LONGEST_ID:
            raise ConfigurationError(
                f"{name} must have 1 to {_LONGEST_ID} characters of ASCII, not {len(value.strip())}."
            )
        checked.append((name.lower(), value.strip()))
    return checked


def is_loopback(hostname: str) -> bool:
    """Whether a host name is this machine by its spelling alone."""
    if hostname == "localhost" or hostname.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return False


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


def _origin(parts: SplitResult) -> str | None:
    port = parts.port or _PORTS.get(parts.scheme)
    return f"{parts.scheme}://{parts.hostname}:{port}" if parts.hostname else None
