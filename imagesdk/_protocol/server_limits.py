"""Parser of the limits and delays that a response states, in headers and in the message of a 429.

OpenAI documents no headers for image limits. These sources are read, the most exact delay first:

================================================  =======================
source                                            gives
================================================  =======================
``retry-after-ms``                                delay
``retry-after``, in seconds                       delay
``retry-after``, an HTTP date or duration         delay
``Please try again in 1.2s`` in the message       delay
``retryDelay`` in the body (Google)               delay
``x-ratelimit-reset-UNIT`` if none is remaining   delay
``x-ratelimit-limit-UNIT``                        limit
``Limit: 50/1min`` in the message                 limit and window
================================================  =======================

An example of a message:
``Rate limit exceeded for images per minute in organization org-x. Limit: 50/1min. Current: 51/1min.``
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal, TypeAlias

from attrs import field, frozen

LimitUnit: TypeAlias = Literal["images", "requests", "tokens"]

_MAX_MESSAGE = 4096  # characters that expressions see
_MAX_VALUE = 200  # of a header with a limit or a delay, in characters
_FAMILY = re.compile(r"x-ratelimit-(limit|remaining|reset)-(.+)")
_LIMIT_UNITS: Mapping[str, LimitUnit] = {
    "images": "images", "input-images": "images", "requests": "requests", "tokens": "tokens",
}  # fmt: skip
_TRY_AGAIN = re.compile(
    r"(?:try again|retry) (?:in|after) ((?:\d{1,9}(?:\.\d+)?\s*(?:ms|seconds?|minutes?|hours?|[smh])\s*)+)",
    re.IGNORECASE,
)
_DURATION = re.compile(r"(\d{1,12}(?:\.\d+)?)\s*(ms|s|m|h|d)", re.IGNORECASE)
_WHOLE_DURATION = re.compile(r"(?:\d{1,12}(?:\.\d+)?\s*(?:ms|s|m|h|d)\s*)+", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = r"(\d{1,3}(?:[,_' ]\d{3}){1,4}|\d{1,15})(?![\d,.']\d)"
_LIMIT = re.compile(
    rf"\blimit(?:: *| +){_NUMBER}(?! +(?!used|requested|current)[a-z])"  # but not: limit: 2 concurrent requests
    r"(?: */ *(\d{0,6}) *(s|sec|second|m|min|minute|h|hour|d|day)s?\b)?",
    re.IGNORECASE,
)
_REQUESTED = re.compile(rf"\brequested(?:: *| +){_NUMBER}", re.IGNORECASE)
_PER = re.compile(r"\b(images|requests|tokens) per (sec|min|hour|day)", re.IGNORECASE)


@frozen
class ServerLimit:
    """A limit that a server states."""

    limit: int
    per: float | None = None
    """The window in seconds; ``None`` if the server does not state it."""


@frozen
class ServerLimits:
    """All limits and delays that a response states."""

    waits: tuple[float, ...] = ()
    """Seconds to wait by each source, the most exact first. The values may be absurd."""
    limits: Mapping[LimitUnit, ServerLimit] = field(factory=dict[LimitUnit, ServerLimit])
    explicit: bool = False
    """Whether the server names images as the unit of the limit, so that even a higher limit than ours is trusted."""
    exceeded: LimitUnit | None = None
    """The unit of the limit in the message."""
    requested: int | None = None
    """The amount that this request asked for, according to the server."""
    remaining_images: int | None = None
    """Images that the server still allows now, by its header."""
    message: str = ""
    """The text of the error, to quote it."""

    @property
    def wait(self) -> float | None:
        """Seconds to wait by the most exact source."""
        return self.waits[0] if self.waits else None

    def never_fits(self, images: int) -> bool:
        """Whether a request for so many images exceeds the stated limit by itself, so that waiting does not help."""
        if self.exceeded is None:
            return False
        asked = {"images": images, "requests": 1, "tokens": 1}[self.exceeded]
        return self.limits[self.exceeded].limit < (asked if self.requested is None else self.requested)


NO_SERVER_LIMITS = ServerLimits()


def parse_server_limits(
    headers: Mapping[str, str], message: str, now: datetime, *, retry_delay: str | None = None
) -> ServerLimits:
    """Parse the limits and delays of headers (names in lower case), a message and a field such as ``26s``."""
    families: dict[str, dict[str, str]] = {}
    message = message[:_MAX_MESSAGE]
    headers = {name: value for name, value in headers.items() if len(value) <= _MAX_VALUE}
    for name, value in headers.items():
        if match := _FAMILY.fullmatch(name):
            families.setdefault(match[2], {})[match[1]] = value
    limits: dict[LimitUnit, ServerLimit] = {}
    for family, facts in families.items():
        unit, limit = _LIMIT_UNITS.get(family), _parse_digits(facts.get("limit"))
        if unit and limit is not None and (family == unit or unit not in limits):
            limits[unit] = ServerLimit(limit)
    explicit = _parse_digits(families.get("images", {}).get("limit")) is not None
    in_message, requested = _parse_message(message)
    limits.update(in_message)
    if "images" in in_message:
        named = _PER.search(message)
        explicit = named is not None and named[1].lower() == "images"
    return ServerLimits(
        waits=_waits(headers, families, message, now, retry_delay),
        limits=limits,
        explicit=explicit,
        exceeded=next(iter(in_message), None),
        requested=requested,
        remaining_images=_parse_digits(families.get("images", {}).get("remaining")),
    )


def _parse_message(message: str) -> tuple[dict[LimitUnit, ServerLimit], int | None]:
    limit, unit, amount = _LIMIT.search(message), _PER.search(message), _REQUESTED.search(message)
    requested = _parse_integer(amount[1]) if amount else None
    if not limit:
        return {}, requested
    per: float | None = None
    if limit[3]:
        per = float(limit[2] or 1) * _SECONDS[limit[3][0].lower()]
    elif unit:
        per = _SECONDS[unit[2][0].lower()]
    unit_name = _LIMIT_UNITS[unit[1].lower()] if unit else "images"
    return {unit_name: ServerLimit(_parse_integer(limit[1]), per or None)}, requested


def _parse_integer(number: str) -> int:
    """Parse a number with or without thousands separators."""
    return int(re.sub(r"\D", "", number))


def _waits(
    headers: Mapping[str, str],
    families: Mapping[str, Mapping[str, str]],
    message: str,
    now: datetime,
    retry_delay: str | None,
) -> tuple[float, ...]:
    milliseconds, stated = _parse_float(headers.get("retry-after-ms")), headers.get("retry-after")
    seconds, match = _parse_float(stated), _TRY_AGAIN.search(message)
    in_message = _parse_duration(match[1]) if match else None
    # The header is rounded to whole seconds, while the message often has the fraction.
    if seconds is not None and in_message is not None and abs(seconds - in_message) <= 1:
        seconds = None
    waits = [None if milliseconds is None else milliseconds / 1000, seconds]
    waits += [_parse_delay(stated, now), in_message, _parse_delay(retry_delay, now)]
    waits += [
        _parse_reset(facts.get("reset"), now)
        for family, facts in families.items()
        if family in _LIMIT_UNITS and _parse_digits(facts.get("remaining")) == 0
    ]
    return tuple(wait for wait in waits if wait is not None)


def _parse_delay(text: str | None, now: datetime) -> float | None:
    """Parse ``26s`` or an HTTP date."""
    if text is None:
        return None
    if _WHOLE_DURATION.fullmatch(text.strip()):
        return _parse_duration(text)
    if ":" not in text:
        return None
    try:
        moment = parsedate_to_datetime(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, (moment - now).total_seconds())
    except (ValueError, OverflowError):
        return None


def _parse_reset(text: str | None, now: datetime) -> float | None:
    """Parse ``58.891s``, ``6m0s``, seconds, or a time in seconds since 1970."""
    if text is None:
        return None
    if _WHOLE_DURATION.fullmatch(text.strip()):
        return _parse_duration(text)
    number = _parse_float(text)
    return max(0.0, number - now.timestamp()) if number is not None and number > 1e8 else number


def _parse_duration(text: str) -> float:
    return sum(float(amount) * _SECONDS[unit.lower()] for amount, unit in _DURATION.findall(text))


def _parse_digits(text: str | None) -> int | None:
    return int(text) if text and len(text) <= 15 and text.isascii() and text.isdigit() else None


def _parse_float(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < 1e10 else None
