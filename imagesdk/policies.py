"""The policies of a client: how fast, how often again, how long, how large. Values only; no clock, no I/O."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Final, Literal

from attrs import Attribute, field, frozen

from imagesdk.errors import ConfigurationError

__all__ = ["DEFAULT_RATE_LIMIT", "Caps", "RateLimit", "RetryPolicy", "Timeouts"]

_SPELLED = re.compile(
    r"\s*(\d+)\s*/\s*(\d+(?:\.\d+)?)?\s*(s|sec|second|m|min|minute|h|hour|d|day)\s*", re.IGNORECASE
)
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _positive(_: object, attribute: Attribute[Any], value: float | None) -> None:
    if value is None or not 0 < value < math.inf:
        raise ConfigurationError(f"{attribute.name} must be a positive number, not {value!r}.")


def _positive_or_none(_: object, attribute: Attribute[Any], value: float | None) -> None:
    if value is not None and not 0 < value < math.inf:
        raise ConfigurationError(f"{attribute.name} must be a positive number or None, not {value!r}.")


def _whole(least: int) -> Callable[[Any, Attribute[Any], Any], None]:
    def validate(_: object, attribute: Attribute[Any], value: object) -> None:
        if type(value) is not int or value < least:
            raise ConfigurationError(
                f"{attribute.name} must be a whole number of at least {least}, not {value!r}."
            )

    return validate


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
    scope: Literal["account", "client"] = "account"
    """``"account"``: clients of one process with the same server and key share the limit.
    ``"client"``: this client counts for itself."""

    def __attrs_post_init__(self) -> None:
        """Refuse a scope that means nothing."""
        if self.scope not in {"account", "client"}:
            raise ConfigurationError(f'scope is "account" or "client", not {self.scope!r}.')

    @classmethod
    def parse(cls, text: str) -> RateLimit:
        """Read ``"50/min"``, ``"5/s"``, ``"500/h"`` or ``"50/10s"``.

        Raises:
            ConfigurationError: the text has another form.
        """
        found = _SPELLED.fullmatch(text)
        if not found or int(found[1]) < 1:
            raise ConfigurationError(
                f"A rate limit is written like 50/min, 5/s, 500/h or 50/10s, not {text!r}."
            )
        return cls(images=int(found[1]), per=float(found[2] or 1) * _UNITS[found[3][0].lower()])

    def __str__(self) -> str:
        return f"{self.images} images / {self.per:g} s"


DEFAULT_RATE_LIMIT: Final = RateLimit()
"""The limit of a client that is told none; known by identity, so that the environment can change it."""


@frozen
class RetryPolicy:
    """When a failed attempt is made again.

    A request that provably was not worked on (no connection, refused with 408, 409 or 429) is made again
    up to ``max_attempts``. A request that may have been worked on, and billed, is made again at most
    ``max_ambiguous`` times, and never with ``delivery="at_most_once"``. Answers of 429 wait for the
    limit and use up no attempts.
    """

    max_attempts: int = field(default=4, validator=_whole(1))
    """Attempts in all, the first included; 1 switches retries off."""
    delivery: Literal["at_least_once", "at_most_once"] = "at_least_once"
    """``"at_most_once"`` never repeats a request that may already have been billed."""
    max_ambiguous: int = field(default=1, validator=_whole(0))
    """How many times a request may be repeated though it may already have been billed."""
    backoff: float = 0.5
    """Seconds of the first delay's upper bound; it doubles with each attempt."""
    max_backoff: float = 20.0
    """Seconds that no delay of our own exceeds."""
    max_retry_after: float = 300.0
    """Seconds: the longest ``Retry-After`` that is waited for; a longer one ends the call. (Where a rate limit
    stands in front, an answer of 429 waits in line instead.)"""

    def __attrs_post_init__(self) -> None:
        """Refuse delays that make no sense."""
        if self.delivery not in {"at_least_once", "at_most_once"}:
            raise ConfigurationError(f'delivery is "at_least_once" or "at_most_once", not {self.delivery!r}.')
        for name in ("backoff", "max_backoff", "max_retry_after"):
            value = getattr(self, name)
            if not (value >= 0):
                raise ConfigurationError(f"{name} must be a number of seconds, not {value!r}.")


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

    picture: int = field(default=64 * 1024 * 1024, validator=_whole(1))
    """For one picture, decoded: in an answer, or behind a result URL."""
    answer: int = field(default=1024 * 1024 * 1024, validator=_whole(1))
    """For a whole answer: inflated, and before its base64 is decoded."""


for _policy in (Caps, RateLimit, RetryPolicy, Timeouts):
    _policy.__module__ = "imagesdk"
