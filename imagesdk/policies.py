"""The policies of a client: how fast, how often again, how long, how large. Values only; no clock, no I/O."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any, Final, Literal, TypeAlias, TypedDict, TypeGuard, cast

from attrs import Attribute, field, frozen

from imagesdk.errors import ConfigurationError, preview
from imagesdk.events import Observer
from imagesdk.remedies import Remedy

__all__ = ["DEFAULT_RATE_LIMIT", "Caps", "ClientOptions", "RateLimit", "RetryPolicy", "Timeouts"]

Delivery: TypeAlias = Literal["at_least_once", "at_most_once"]

_SPELLED = re.compile(
    r"\s*(\d+)\s*/\s*(\d+(?:\.\d+)?)?\s*(s|sec|second|m|min|minute|h|hour|d|day)\s*", re.IGNORECASE
)
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_TAKEN = frozenset(
    {
        "accept",
        "accept-encoding",
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "host",
        "transfer-encoding",
        "user-agent",
    }
)
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def is_positive(value: object) -> TypeGuard[float]:
    """Whether a value is a number above 0, and not without end."""
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


def _whole_or_none(instance: Any, attribute: Attribute[Any], value: object) -> None:
    if value is not None:
        _whole(1)(instance, attribute, value)


@frozen
class RateLimit:
    """How many images may be asked for in any window of time, counted in images, not in requests.

    The default, 50 images in any 60 seconds, is the limit that the Images API was documented with; an
    account can ask for more in the limits page of its settings. Calls wait in line, first come first
    served, so that the limit is met rather than hit. ``rate_limit=None`` on the client waits for nothing.
    """

    images: int = field(default=50, validator=_whole(1))
    """Images per window; a request for ``n`` pictures takes ``n``."""
    per: float = field(default=60.0, validator=_positive)
    """The window's length in seconds."""
    requests: int | None = field(default=None, validator=_whole_or_none)
    """Requests per window, where they are limited, too."""
    tokens: int | None = field(default=None, validator=_whole_or_none)
    """Tokens per window, where they are limited, too. What a request takes is estimated from those before it."""
    scope: Literal["account", "client"] = "account"
    """``"account"``: clients of one process with the same server, key, organization, project and model share the limit.
    ``"client"``: this client counts for itself."""

    def __attrs_post_init__(self) -> None:
        """Refuse a scope that means nothing."""
        if self.scope not in ("account", "client"):
            raise ConfigurationError.for_parameter("scope", self.scope, allowed='"account" or "client"')

    @classmethod
    def parse(cls, text: str) -> RateLimit:
        """Read ``"50/min"``, ``"5/s"``, ``"500/h"`` or ``"50/10s"``.

        Raises:
            ConfigurationError: the text has another form.
        """
        found = _SPELLED.fullmatch(text) if isinstance(cast("object", text), str) else None
        if not found or int(found[1]) < 1:
            allowed = "written like 50/min, 5/s, 500/h or 50/10s"
            raise ConfigurationError.for_parameter("rate_limit", text, allowed=allowed)
        return cls(images=int(found[1]), per=float(found[2] or 1) * _UNITS[found[3][0].lower()])

    @classmethod
    def tier(cls, tier: int, *, model: str = "gpt-image-2") -> RateLimit:
        """Return the published limit of a usage tier, from 1 to 5: see :attr:`ModelProfile.tiers` for the source.

        Raises:
            ConfigurationError: no such limit is known.
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
"""The limit of a client that is told none; known by identity, so that the environment can change it."""


PERSISTENT_ATTEMPTS: Final = 10
"""Attempts at least for each job of a run with ``delivery="at_least_once"``: where every sixth fails, one job in ninety
million is not delivered."""


@frozen
class RetryPolicy:
    """When a failed attempt is made again.

    A request that provably was not worked on (no connection, refused with 408, 409, 425 or 429) is made again
    up to ``max_attempts``. A request that may have been worked on, and billed, is made again at most
    ``max_ambiguous`` times, and never with ``delivery="at_most_once"``. Answers of 429 wait for the
    limit and use up no attempts. When many calls of a client fail, none is made again for a while.
    """

    max_attempts: int = field(default=4, validator=_whole(1))
    """Attempts in all, the first included; 1 switches retries off."""
    delivery: Delivery = "at_least_once"
    """``"at_most_once"`` never repeats a request that may already have been billed."""
    max_ambiguous: int = field(default=1, validator=_whole(0))
    """How many times a request may be repeated though it may already have been billed."""
    backoff: float = 0.5
    """Seconds of the first delay's upper bound; it doubles with each attempt."""
    max_backoff: float = 20.0
    """Seconds that no delay of our own exceeds."""
    budget: float | None = field(default=50.0, validator=_positive_or_none)
    """How many failures the calls of one client share before retries stop: at half of it. ``None`` for no end.
    Refusals are free, and so are the first ten attempts in a row that found no connection."""
    budget_refill: float = 0.5
    """What a success gives back to the budget."""
    idempotency_header: str = "idempotency-key"
    """The header that carries the key of a call, the same on each of its attempts."""
    server_idempotent: bool = False
    """Whether the server is known to do and bill the work for one key once. Then every failure may be repeated."""
    max_retry_after: float = 300.0
    """Seconds: the longest ``Retry-After`` that is waited for; a longer one ends the call. (Where a rate limit
    stands in front, an answer of 429 waits in line instead.)"""

    def __attrs_post_init__(self) -> None:
        """Refuse delays that make no sense."""
        if self.delivery not in ("at_least_once", "at_most_once"):
            allowed = '"at_least_once" or "at_most_once"'
            raise ConfigurationError.for_parameter("delivery", self.delivery, allowed=allowed)
        header = cast("object", self.idempotency_header)
        if not isinstance(header, str) or not _HEADER.fullmatch(header) or header.lower() in _TAKEN:
            problem = (
                "is reserved"
                if isinstance(header, str) and header.lower() in _TAKEN
                else "is not a header name"
            )
            raise ConfigurationError(
                f"idempotency_header {preview(header)} {problem}.", param="idempotency_header"
            )
        for name in ("backoff", "max_backoff", "max_retry_after", "budget_refill"):
            value = getattr(self, name)
            if not _is_number(value) or not value >= 0:
                raise ConfigurationError.for_parameter(name, value, allowed="a number of at least 0")


@frozen
class Timeouts:
    """How long things may take, in seconds; ``None`` is for ever.

    Deadlines are total, not per read: a server that drips bytes cannot stretch them.
    """

    connect: float | None = field(default=5.0, validator=_positive_or_none)
    """For one connection to be made."""
    attempt: float | None = field(default=600.0, validator=_positive_or_none)
    """For one attempt, from the moment the rate limit lets it go to the last byte of its answer."""
    total: float | None = field(default=None, validator=_positive_or_none)
    """For the whole call, waiting for the limit and retries included."""


@frozen
class Caps:
    """How large answers may be, in bytes. One that is larger is given up while it arrives, and not asked for again.

    The defaults are far beyond every documented answer; they keep a broken or hostile server from filling memory
    or disk.
    """

    image: int = field(default=64 * 1024 * 1024, validator=_whole(1))
    """For one picture, decoded: in an answer, or behind a result URL."""
    response: int = field(default=1024 * 1024 * 1024, validator=_whole(1))
    """For a whole answer: inflated, and before its base64 is decoded."""


class ClientOptions(TypedDict, total=False):
    """What a client can be told, and a view of it (``client.with_options``) told otherwise."""

    timeout: float | Timeouts | None
    """Seconds for a whole call, or :class:`Timeouts`."""
    retry: RetryPolicy
    """When a failed attempt is made again."""
    rate_limit: RateLimit | str | Mapping[str, RateLimit | str | None] | None
    """Images per window, counted on this side, also as text (``"50/min"``); ``None`` for no limit; or limits by model."""
    check: bool
    """Whether to refuse what the rules of the model forbid before anything is sent."""
    caps: Caps
    """How large answers may be."""
    fsync: bool
    """Whether files of ``out=`` are on the disk itself before a call returns."""
    observers: Sequence[Observer]
    """Called with every event of :mod:`imagesdk.events`."""
    default_headers: Mapping[str, str]
    """Sent with every request to the server (not with downloads); ``extra_headers=`` of a call win over them. A view
    adds its own to those of its client."""


for _policy in (Caps, ClientOptions, RateLimit, RetryPolicy, Timeouts):
    _policy.__module__ = "imagesdk"
