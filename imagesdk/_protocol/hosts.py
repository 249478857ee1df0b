"""Properties of a server, derived from its base URL: routes, authentication, defaults and trusted URLs.

Pure functions without connections or DNS lookups. :mod:`.azure` has the differences of Azure.

===================  ========================  ============  ====================  ===============
server               key                       list prices   default model         needs a key
===================  ========================  ============  ====================  ===============
OpenAI               ``Authorization``         yes           yes                   yes
Azure                ``api-key``               yes           of the deployment     yes
loopback             ``Authorization``         yes           no                    no
any other            ``Authorization``         no            no                    no
===================  ========================  ============  ====================  ===============
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import cast
from urllib.parse import SplitResult, parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from attrs import frozen

from imagesdk._protocol.secret import Secret
from imagesdk.errors import ConfigurationError, InvalidRequestError
from imagesdk.jobs import Job, Variation
from imagesdk.models import catalog
from imagesdk.remedies import Remedy

OPENAI_BASE_URL = "https://api.openai.com/v1"

_OPENAI_HOSTS = frozenset({"api.openai.com", "eu.api.openai.com", "us.api.openai.com"})
_AZURE_SUFFIXES = (".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com")
_PORTS = {"http": 80, "https": 443}
# https://www.rfc-editor.org/rfc/rfc9110#name-tokens
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_OWN_HEADERS = {
    "authorization",
    "content-length",
    "transfer-encoding",
    "host",
    "connection",
    "idempotency-key",
}
CLIENT_REQUEST_ID = "x-client-request-id"
"""The header with the client's id of a request: https://platform.openai.com/docs/api-reference/debugging-requests"""
_MAX_REQUEST_ID = 512
_VERSION = re.compile(r"/v\d+\w*(/|\Z)")


@frozen
class Route:
    """The path of an image request and the place of its model."""

    path: str
    model: str | None
    in_body: bool = True
    """Whether the body names the model, rather than the path."""


@frozen
class Host:
    """A server that speaks the Images API."""

    base_url: str
    """The base URL without a trailing slash, such as ``https://api.openai.com/v1``."""
    key_header: str = "authorization"
    """The header with the key: ``Bearer KEY`` in ``authorization``, the bare key in any other."""

    @classmethod
    def parse(cls, base_url: str) -> Host:
        """Parse an http or https URL. Refuse one with a user, a query or a fragment."""
        text = base_url.strip().rstrip("/")
        parts = _split(text)
        is_url = parts is not None and parts.scheme in _PORTS and bool(parts.hostname)
        if parts is None or not is_url or not text.isprintable() or " " in text:
            shown = "one with a user" if "@" in text else repr(base_url)  # it may contain a password
            allowed = f"a URL such as {OPENAI_BASE_URL} or http://127.0.0.1:8000/v1"
            raise ConfigurationError.for_parameter("base_url", shown, allowed=allowed, shown=shown)
        if parts.username is not None or "?" in text or "#" in text:
            message = "base_url may not hold a user, a password, a query or a fragment."
            raise ConfigurationError(message, param="base_url", remedies=(Remedy.USE_KEY_OPTION,))
        return cls(text)

    @property
    def hostname(self) -> str:
        """The name of the machine, in lower case."""
        return urlsplit(self.base_url).hostname or ""

    @property
    def origin(self) -> str:
        """Scheme, host and port: the scope of rate limits and trust."""
        return _origin(urlsplit(self.base_url)) or ""

    @property
    def is_openai(self) -> bool:
        """Whether the server is OpenAI, which always needs a key and a model."""
        return self.hostname in _OPENAI_HOSTS

    @property
    def needs_key(self) -> bool:
        """Whether the server requires a key: OpenAI and Azure do."""
        return self.is_openai or self.hostname.endswith(_AZURE_SUFFIXES)

    @property
    def suggested_base_url(self) -> str | None:
        """The base URL with ``/v1``; ``None`` if its path already has a version."""
        return None if _VERSION.search(urlsplit(self.base_url).path) else f"{self.base_url}/v1"

    @property
    def uses_list_prices(self) -> bool:
        """Whether OpenAI's list prices apply: where a key is needed, and on loopback (emulators and proxies)."""
        return self.needs_key or is_loopback(self.hostname)

    @property
    def is_secure(self) -> bool:
        """Whether it is safe to send a key: over https, or to a loopback host."""
        return urlsplit(self.base_url).scheme == "https" or is_loopback(self.hostname)

    def url(self, path: str, query: Mapping[str, str] | None = None) -> str:
        """Return the URL of an endpoint such as ``/images/generations``. An absolute URL is kept."""
        url = path if path.startswith(("http://", "https://")) else self.base_url + path
        return url + (f"?{urlencode(query)}" if query else "")

    def target(self, path: str) -> tuple[str, dict[str, str]]:
        """Split a path or absolute URL into the argument of :meth:`url` and the query. Refuse other origins."""
        bare, _, query = path.partition("?")
        absolute = "://" in bare
        if absolute and not self.is_same_origin(bare):
            raise InvalidRequestError(
                f"path must be below {self.base_url}, or a URL on {self.origin}, because the key is sent nowhere else.",
                param="path",
                value=bare,
            )
        if not bare or "#" in path or not path.isascii() or not path.isprintable() or " " in path:
            message = "path must be one such as /models, percent-encoded and without a fragment."
            raise InvalidRequestError(message, param="path", value=path)
        parameters = dict(parse_qsl(query, keep_blank_values=True))
        return bare if absolute or bare.startswith("/") else f"/{bare}", parameters

    def result_url(self, url: str) -> str:
        """Return the absolute URL of a result."""
        return urljoin(self.base_url + "/", url)

    def is_same_origin(self, url: str) -> bool:
        """Whether ``url`` is on the origin of the server. Such results are always fetched."""
        parts = _split(url)
        return parts is not None and _origin(parts) == self.origin

    def own_url(self, url: str) -> str | None:
        """Return the URL of a result on this server that names this machine in another way, such as ``0.0.0.0``.

        ``None`` if the URL or the server is on another machine, or if the port is not that of the server.
        """
        parts, own = _split(url), urlsplit(self.base_url)
        if parts is None or parts.scheme not in _PORTS or not _is_this_machine(own.hostname or ""):
            return None
        port = parts.port or _PORTS[parts.scheme]
        if not _is_this_machine(parts.hostname or "") or port != (own.port or _PORTS[own.scheme]):
            return None
        return urlunsplit((own.scheme, own.netloc, parts.path, parts.query, ""))

    def default_model(self, job: Job) -> str | None:
        """Return the model for a job without one: OpenAI's default at OpenAI, ``None`` elsewhere."""
        if not self.is_openai:
            return None
        return catalog.OPENAI_VARIATION_MODEL if isinstance(job, Variation) else catalog.OPENAI_GENERATE_MODEL

    def route(self, path: str, model: str | None) -> Route:
        """Return the route of an image request. A subclass may refuse a missing model."""
        return Route(path, model)

    def resolve_model(self, name: str | None) -> str | None:
        """Return the model whose rules and prices apply to a job that names ``name``."""
        return name


def auth_headers(
    key: Secret, organization: str | None, project: str | None, *, header: str = "authorization"
) -> list[tuple[str, str]]:
    """Return the authentication headers. An empty key sends no key header."""
    shown = f"Bearer {key.reveal()}" if key and header == "authorization" else key.reveal()
    named = ((header, shown), ("openai-organization", organization), ("openai-project", project))
    return [(name, value) for name, value in named if value]


def validate_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Check headers of the caller, and return them with lower-case names. Refuse headers that the client sets."""
    checked: list[tuple[str, str]] = []
    for name, value in headers:
        if not isinstance(cast("object", name), str) or not _HEADER_NAME.fullmatch(name):
            raise ConfigurationError(f"{name!r} is not a header name.")
        start = f"The value of header {name!r}"
        if not isinstance(cast("object", value), str):
            raise ConfigurationError(f"{start} must be a text, not a value of type {type(value).__name__}.")
        if not (value.isascii() and value.isprintable()):
            raise ConfigurationError(f"{start} holds a line break or a character beyond ASCII.")
        if name.lower() in _OWN_HEADERS:
            raise ConfigurationError(
                f"The header {name!r} is set by the client itself.", remedies=(Remedy.USE_CLIENT_OPTIONS,)
            )
        if name.lower() == CLIENT_REQUEST_ID and not 0 < len(value.strip()) <= _MAX_REQUEST_ID:
            raise ConfigurationError(
                f"{name} must have 1 to {_MAX_REQUEST_ID} characters of ASCII, not {len(value.strip())}."
            )
        checked.append((name.lower(), value.strip()))
    return checked


def is_loopback(hostname: str) -> bool:
    """Whether a host name denotes this machine. The name is not resolved."""
    if hostname == "localhost" or hostname.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return False


def _is_this_machine(hostname: str) -> bool:
    """Whether a host name is a loopback name, or the address of a server that is bound to all addresses."""
    return hostname in {"0.0.0.0", "::"} or is_loopback(hostname)  # noqa: S104 - a name in a URL


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
