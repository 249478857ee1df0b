"""Policies of a client: rate limit, retries, time-outs and size caps, as values without clock or I/O."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any, Final, Literal, TypeAlias, TypedDict, TypeGuard, cast

from attrs import Attribute, field, frozen
from attrs.validators import optional

from imagesdk.errors import ConfigurationError, preview
from imagesdk.events import Observer
from imagesdk.remedies import Remedy

__all__ = [
    "DEFAULT_RATE_LIMIT",
    "Caps",
    "ClientOptions",
    "RateLimit",
    "RetryPolicy",
    "SharedStore",
    "Timeouts",
]

Delivery: TypeAlias = Literal["at_least_once", "at_most_once"]

_SPELLED = re.compile(
    r"\s*(\d+)\s*/\s*(\d+(?:\.\d+)?)?\s*(s|sec|second|m|min|minute|h|hour|d|day)\s*", re.IGNORECASE
)
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_RESERVED = re.compile(
    "accept(-encoding)?|authorization|connection|content-(length|type)|host|transfer-encoding|user-agent",
    re.IGNORECASE,
)
_STORES = ("sqlite", "redis", "rediss", "unix")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def is_positive(value: object) -> TypeGuard[float]:
    """Return whether a value is a finite number above 0."""
    return _is_number(value) and 0 < value < math.inf


def _is_number(value: object) -> TypeGuard[float]:
    return not isinstance(value, bool) and isinstance(value, Real)


def _positive(_: object, attribute: Attribute[Any], value: object) -> None:
    if not is_positive(value):
        raise ConfigurationError.for_parameter(attribute.name, value, allowed="a number greater than 0")


def _positive_or_none(_: object, attribute: Attribute[Any], value: object) -> None:
    if value is not None and not is_positive(value):
        allowed = "a number greater than 0, or None"
        raise ConfigurationError.for_parameter(attribute.name, value, allowed=allowed)


def _whole(least: int) -> Callable[[Any, Attribute[Any], Any], None]:
    def validate(_: object, attribute: Attribute[Any], value: object) -> None:
        if type(value) is not int or value < least:
            written = isinstance(value, str) and attribute.name == "images"
            raise ConfigurationError.for_parameter(
                attribute.name,
                value,
                allowed=f"a whole number of at least {least}",
                remedies=(Remedy.PARSE_RATE_LIMIT.of(repr(value)),) if written else (),
            )

    return validate


@frozen
class RateLimit:
    """Maximum number of images per time window.

    The default of 50 images in any 60 seconds is the documented limit of the Images API. The limits page of an account
    has its own limit. Calls over the limit queue, first in first out, instead of failing with 429. With
    ``rate_limit=None`` on the client no call waits.
    """

    images: int = field(default=50, validator=_whole(1))
    """Images per window. A request with ``n=3`` counts as three."""
    per: float = field(default=60.0, validator=_positive)
    """Length of the window in seconds."""
    requests: int | None = field(default=None, validator=optional(_whole(1)))
    """Requests per window; ``None`` for no limit on them."""
    tokens: int | None = field(default=None, validator=optional(_whole(1)))
    """Tokens per window; ``None`` for no limit on them. The tokens of a request are estimated from earlier requests."""
    scope: Literal["account", "client"] = "account"
    """``"account"``: clients of one process with the same server, key, organization, project and model share the limit.
    ``"client"``: this client has windows of its own."""

    def __attrs_post_init__(self) -> None:
        """Validate the scope."""
        if self.scope not in ("account", "client"):
            raise ConfigurationError.for_parameter("scope", self.scope, allowed='"account" or "client"')

    @classmethod
    def parse(cls, text: str) -> RateLimit:
        """Parse a text such as ``"50/min"``, ``"5/s"``, ``"500/h"`` or ``"50/10s"``.

        Raises:
            ConfigurationError: If the text has another form.
        """
        found = _SPELLED.fullmatch(text) if isinstance(cast("object", text), str) else None
        if not found or int(found[1]) < 1:
            allowed = "written like 50/min, 5/s, 500/h or 50/10s"
            raise ConfigurationError.for_parameter("rate_limit", text, allowed=allowed)
        return cls(images=int(found[1]), per=float(found[2] or 1) * _UNITS[found[3][0].lower()])

    @classmethod
    def tier(cls, tier: int, *, model: str = "gpt-image-2") -> RateLimit:
        """Return the published limit of a usage tier, 1 to 5. Its source is in :attr:`ModelProfile.tiers`.

        Raises:
            ConfigurationError: If no limit is known for the tier and the model.
        """
        from imagesdk.models import lookup  # which takes longer to import than this module

        profile = lookup(model)
        known: Mapping[int, tuple[int, int | None]] = profile.tiers if profile is not None else {}
        if tier not in known:
            named = ", ".join(map(str, known)) or "none"
            raise ConfigurationError(f"No limit of tier {tier!r} is known for {model} (known: {named}).")
        images, tokens = known[tier]
        return cls(images=images, tokens=tokens)

    def __str__(self) -> str:
        counted = [f"{self.images} images"]
        counted += [f"{self.requests} requests"] if self.requests is not None else []
        counted += [f"{self.tokens} tokens"] if self.tokens is not None else []
        return f"{', '.join(counted)} / {self.per:g} s"


DEFAULT_RATE_LIMIT: Final = RateLimit()
"""Default limit. Compared by identity: only this object may be overridden by ``IMAGESDK_RATE_LIMIT``."""


DEFAULT_MAX_LIMIT_WAIT: Final = 900.0
"""Default of :attr:`RetryPolicy.max_limit_wait`."""

PERSISTENT_ATTEMPTS: Final = 30
"""Minimum number of attempts for a job of a run with ``delivery="at_least_once"``. If six of ten attempts fail, one job in
four million is not delivered. Attempts while the run is paused do not count."""


@frozen
class RetryPolicy:
    """Rules for retries of failed attempts.

    - A request that was certainly not executed (no connection, or a status of 408, 409, 425 or 429) is retried, up to
      ``max_attempts``.
    - A request that may have been executed and billed is retried at most ``max_ambiguous`` times, and never with
      ``delivery="at_most_once"``.
    - A request that was answered with success is never repeated, even if its response has no readable image.
    - After a 429 the call waits for the rate limit. This uses up no attempt.
    - While many calls of a client fail, retries are suspended. A run (``images.fan_out``) pauses instead.
    """

    max_attempts: int = field(default=4, validator=_whole(1))
    """Maximum number of attempts, including the first. 1: no retries."""
    delivery: Delivery = "at_least_once"
    """``"at_most_once"`` never repeats a request that may have been billed."""
    max_ambiguous: int = field(default=1, validator=_whole(0))
    """Maximum number of retries of a request that may have been billed."""
    backoff: float = 0.5
    """Upper bound of the first delay, in seconds. It doubles with each attempt."""
    max_backoff: float = 20.0
    """Maximum delay in seconds, unless the server asks for a longer one."""
    budget: float | None = field(default=50.0, validator=_positive_or_none)
    """Retry throttling: the number of failures that all calls of a client share. Retries stop when half of it is used
    up. ``None``: no throttling. Rejected requests do not count, nor do the first ten failures to connect in a row."""
    budget_refill: float = 0.5
    """The amount that a success gives back to ``budget``."""
    idempotency_header: str = "idempotency-key"
    """The header for the idempotency key of a call, which is the same for all of its attempts."""
    server_idempotent: bool = False
    """Whether the server executes and bills each idempotency key only once. Then every failure may be retried."""
    max_retry_after: float = 300.0
    """Maximum ``Retry-After`` in seconds. A longer one ends the call, except for a 429 under a rate limit, where the call
    queues instead."""
    max_limit_wait: float | None = field(default=DEFAULT_MAX_LIMIT_WAIT, validator=_positive_or_none)
    """Maximum seconds in which the server answers nothing but 429; ``None`` for no end. A call then stops waiting for the
    rate limit. The time in a queue whose calls succeed does not count. The default is two windows of the rate limit where
    that is longer."""

    def __attrs_post_init__(self) -> None:
        """Validate fields that depend on more than their type."""
        if self.delivery not in ("at_least_once", "at_most_once"):
            allowed = '"at_least_once" or "at_most_once"'
            raise ConfigurationError.for_parameter("delivery", self.delivery, allowed=allowed)
        header = cast("object", self.idempotency_header)
        problem = None
        if not isinstance(header, str) or not _HEADER.fullmatch(header):
            problem = "is not a header name"
        elif _RESERVED.fullmatch(header):
            problem = "is reserved"
        if problem:
            message = f"idempotency_header {preview(header)} {problem}."
            raise ConfigurationError(message, param="idempotency_header")
        for name in ("backoff", "max_backoff", "max_retry_after", "budget_refill"):
            value = getattr(self, name)
            if not _is_number(value) or not value >= 0:
                raise ConfigurationError.for_parameter(name, value, allowed="a number of at least 0")


@frozen
class Timeouts:
    """Time-outs in seconds; ``None`` for no end.

    They are total times, not times per read, so a server that sends byte by byte cannot extend them.
    """

    connect: float | None = field(default=5.0, validator=_positive_or_none)
    """For one connection to be opened."""
    attempt: float | None = field(default=600.0, validator=_positive_or_none)
    """For one attempt, from the permit of the rate limit to the last byte of the response."""
    total: float | None = field(default=None, validator=_positive_or_none)
    """For the whole call, with retries and the wait for the rate limit."""


@frozen
class Caps:
    """Maximum sizes in bytes. Larger responses are aborted while they arrive, and are not retried.

    The defaults are far above every documented response. They keep a broken or hostile server from filling memory or
    disk.
    """

    image: int = field(default=64 * 1024 * 1024, validator=_whole(1))
    """For one decoded image, in a response or behind a result URL."""
    response: int = field(default=1024 * 1024 * 1024, validator=_whole(1))
    """For a whole response, decompressed and before its base64 is decoded."""


@frozen(repr=False)
class SharedStore:
    """A store through which processes share one rate limit and one ledger.

    ``shared="redis://..."`` of a client is short for ``shared=SharedStore("redis://...")``.
    """

    url: str
    """``sqlite:///name.sqlite`` (in the current folder) or ``sqlite:////folder/name.sqlite`` for the processes of one
    machine; ``redis://``, ``rediss://`` or ``unix://`` for those of many."""
    on_store_loss: Literal["wait", "local_share"] = "wait"
    """``"wait"``: calls wait while the store is away, and raise :class:`CoordinationError` when their time is up.
    ``"local_share"``: after one window each process continues with its share of the limit, by the processes that were
    last known. That is for a store that is away from all of them, not from some."""

    def __attrs_post_init__(self) -> None:
        """Validate the scheme."""
        url = cast("object", self.url)
        scheme = url.partition("://")[0].lower() if isinstance(url, str) and "://" in url else ""
        if scheme not in _STORES:
            allowed = "a URL that begins with sqlite:///, redis://, rediss:// or unix://"
            shown = f"one that begins with {scheme}://" if scheme else f"a value of type {type(url).__name__}"
            raise ConfigurationError.for_parameter("shared", None, allowed=allowed, shown=shown)
        if self.on_store_loss not in ("wait", "local_share"):
            allowed = '"wait" or "local_share"'
            raise ConfigurationError.for_parameter("on_store_loss", self.on_store_loss, allowed=allowed)

    @property
    def name(self) -> str:
        """The URL without user, password and query."""
        scheme, _, rest = self.url.partition("://")
        return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"

    def __repr__(self) -> str:
        return f"SharedStore({self.name!r}, {self.on_store_loss!r})"

    def __reduce__(self) -> Any:
        if self.name != self.url:
            raise TypeError("The URL of a shared store may hold a password: it cannot be pickled or copied.")
        return SharedStore, (self.url, self.on_store_loss)


class ClientOptions(TypedDict, total=False):
    """Options of a client, which a view of it (``client.with_options``) may change."""

    timeout: float | Timeouts | None
    """Seconds for a whole call, or :class:`Timeouts`."""
    retry: RetryPolicy
    """The policy for retries of failed attempts."""
    rate_limit: RateLimit | str | Mapping[str, RateLimit | str | None] | None
    """The rate limit, also as text (``"50/min"``); ``None`` for no limit; or a mapping of models to these."""
    check: bool
    """Whether requests that break a rule of the model are refused before anything is sent."""
    caps: Caps
    """Maximum sizes of responses."""
    fsync: bool
    """Whether to fsync output files before a call returns."""
    observers: Sequence[Observer]
    """Functions that are called with every event of :mod:`imagesdk.events`."""
    default_headers: Mapping[str, str]
    """Headers of every request to the server, but not of downloads. ``extra_headers=`` of a call override them. A view
    adds its headers to those of its client."""
    shared: SharedStore | str | None
    """The store through which processes share the rate limit: a URL or a :class:`SharedStore`. ``None``:
    ``IMAGESDK_SHARED``, if it is set. ``""``: none."""
    trusted_result_hosts: Sequence[str]
    """Host names, such as ``"images.lan"``. Result URLs on these hosts are fetched even over plain http and from private
    addresses."""


for _policy in (Caps, ClientOptions, RateLimit, RetryPolicy, SharedStore, Timeouts):
    _policy.__module__ = "imagesdk"
