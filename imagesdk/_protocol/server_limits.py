"""Rate limits that a server states, in headers and in the message of a 429.

The API documents no header for images. These sources are read:

- ``x-ratelimit-(limit|remaining|reset)-<family>``, for the families of images, requests and tokens
- ``retry-after-ms`` and ``retry-after``
- messages that servers have been seen to send, such as ``Rate limit exceeded for images per minute in organization
  org-x. Limit: 50/1min. Current: 51/1min.``
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal, TypeAlias

from attrs import field, frozen

LimitUnit: TypeAlias = Literal["images", "requests", "tokens"]

_FAMILY = re.compile(r"x-ratelimit-(limit|remaining|reset)-(.+)")
_UNITS: Mapping[str, LimitUnit] = {
    "images": "images",
    "input-images": "images",
    "requests": "requests",
    "tokens": "tokens",
}
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
    """One limit that a server states."""

    limit: int
    per: float | None = None
    """The window in seconds; ``None`` if the server names none."""


@frozen
class ServerLimits:
    """Limits and waiting times that one response states."""

    waits: tuple[float, ...] = ()
    """Seconds to wait, the most exact first. May be absurd."""
    limits: Mapping[LimitUnit, ServerLimit] = field(factory=dict[LimitUnit, ServerLimit])
    explicit: bool = False
    """Whether the server calls the limit one of images, so that the client may raise its own limit to it."""
    exceeded: LimitUnit | None = None
    """The limit that the message names."""
    requested: int | None = None
    """Units that this request asked for, according to the message."""

    @property
    def wait(self) -> float | None:
        """The most exact waiting time in seconds."""
        return self.waits[0] if self.waits else None

    def never_fits(self, images: int) -> bool:
        """Return whether a request for so many images can never fit the exceeded limit."""
        if self.exceeded is None:
            return False
        asked = {"images": images, "requests": 1, "tokens": 1}[self.exceeded]
        return self.limits[self.exceeded].limit < (asked if self.requested is None else self.requested)


NO_SERVER_LIMITS = ServerLimits()


def parse_server_limits(
    headers: Mapping[str, str], message: str, now: datetime, *, retry_delay: str | None = None
) -> ServerLimits:
    """Read the limits and waiting times of a response.

    Args:
        headers: With names in lower case.
        message: The message of the error; empty for a success.
        now: The present, for a ``Retry-After`` that is a date.
        retry_delay: A duration from a field of the body, such as ``26s``.
    """
    families: dict[str, dict[str, str]] = {}
    for name, value in headers.items():
        if found := _FAMILY.fullmatch(name):
            families.setdefault(found[2], {})[found[1]] = value
    limits: dict[LimitUnit, ServerLimit] = {}
    for family, facts in families.items():
        unit, limit = _UNITS.get(family), _whole(facts.get("limit"))
        if unit and limit is not None and (family == unit or unit not in limits):
            limits[unit] = ServerLimit(limit)
    explicit = _whole(families.get("images", {}).get("limit")) is not None
    in_message, requested = _limit_in_message(message)
    if in_message:
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
    )


def _limit_in_message(message: str) -> tuple[dict[LimitUnit, ServerLimit], int | None]:
    found, named, asked = _LIMIT.search(message), _PER.search(message), _REQUESTED.search(message)
    requested = _integer(asked[1]) if asked else None
    if not found:
        return {}, requested
    per: float | None = None
    if found[3]:
        per = float(found[2] or 1) * _SECONDS[found[3][0].lower()]
    elif named:
        per = _SECONDS[named[2][0].lower()]
    unit: LimitUnit = "images"
    if named:
        unit = _UNITS[named[1].lower()]
    return {unit: ServerLimit(_integer(found[1]), per or None)}, requested


def _integer(number: str) -> int:
    """Read a number with or without thousands separators."""
    return int(re.sub(r"\D", "", number))


def _waits(
    headers: Mapping[str, str],
    families: Mapping[str, Mapping[str, str]],
    message: str,
    now: datetime,
    retry_delay: str | None,
) -> tuple[float, ...]:
    found: list[float | None] = []
    milliseconds = _number(headers.get("retry-after-ms"))
    found.append(None if milliseconds is None else milliseconds / 1000)
    seconds = _number(headers.get("retry-after"))
    in_message = None
    if match := _TRY_AGAIN.search(message):
        in_message = _duration(match[1])
    # The header has whole seconds; the message often has the fraction.
    if seconds is not None and in_message is not None and abs(seconds - in_message) <= 1:
        seconds = None
    found += [seconds, _after(headers.get("retry-after"), now), in_message, _after(retry_delay, now)]
    found += [
        _reset(facts.get("reset"), now)
        for family, facts in families.items()
        if family in _UNITS and _whole(facts.get("remaining")) == 0
    ]
    return tuple(wait for wait in found if wait is not None)


def _after(text: str | None, now: datetime) -> float | None:
    """Read a duration such as ``26s``, or an HTTP date."""
    if text is None:
        return None
    if _WHOLE_DURATION.fullmatch(text.strip()):
        return _duration(text)
    if ":" not in text:
        return None
    try:
        moment = parsedate_to_datetime(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, (moment - now).total_seconds())
    except (ValueError, OverflowError):
        return None


def _reset(text: str | None, now: datetime) -> float | None:
    """Read a duration such as ``58.891s`` or ``6m0s``, seconds, or a Unix time."""
    if text is None:
        return None
    if _WHOLE_DURATION.fullmatch(text.strip()):
        return _duration(text)
    number = _number(text)
    if number is not None and number > 1e8:
        return max(0.0, number - now.timestamp())
    return number


def _duration(text: str) -> float:
    return sum(float(amount) * _SECONDS[unit.lower()] for amount, unit in _DURATION.findall(text))


def _whole(text: str | None) -> int | None:
    return int(text) if text and len(text) <= 15 and text.isascii() and text.isdigit() else None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < 1e10 else None
