"""What a server says about its limits: in headers of any family, and in the words of an answer of 429.

No header is documented for images. ``x-ratelimit-(limit|remaining|reset)-<what>`` is read for any ``<what>``, and so are
``retry-after-ms``, ``retry-after`` and the sentences that have been seen, such as
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

_FAMILY = re.compile(r"x-ratelimit-(limit|remaining|reset)-(.+)")
_LIMIT_UNITS: Mapping[str, LimitUnit] = {
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
    """One limit, as a server names it."""

    limit: int
    per: float | None = None
    """The window in seconds; ``None`` where it is not told."""


@frozen
class ServerLimits:
    """All that one answer says about limits and waiting."""

    waits: tuple[float, ...] = ()
    """Seconds to wait, the most exact saying first. May be absurd."""
    limits: Mapping[LimitUnit, ServerLimit] = field(factory=dict[LimitUnit, ServerLimit])
    explicit: bool = False
    """Whether the limit on images is called just that, so that it can be believed though it is higher than ours."""
    exceeded: LimitUnit | None = None
    """Which limit the words are about."""
    requested: int | None = None
    """What the server says that this request asked for."""

    @property
    def wait(self) -> float | None:
        """The first saying."""
        return self.waits[0] if self.waits else None

    def never_fits(self, images: int) -> bool:
        """Whether a request for so many images can never meet the limit that refused it, however long it waits."""
        if self.exceeded is None:
            return False
        asked = {"images": images, "requests": 1, "tokens": 1}[self.exceeded]
        return self.limits[self.exceeded].limit < (asked if self.requested is None else self.requested)


NO_SERVER_LIMITS = ServerLimits()


def parse_server_limits(
    headers: Mapping[str, str], message: str, now: datetime, *, retry_delay: str | None = None
) -> ServerLimits:
    """Read an answer.

    Args:
        headers: names in lower case.
        message: the words of the error; empty for a success.
        now: the present, for a ``Retry-After`` that is a date.
        retry_delay: a duration that the body has in a field of its own, e.g. ``26s``.
    """
    families: dict[str, dict[str, str]] = {}
    for name, value in headers.items():
        if found := _FAMILY.fullmatch(name):
            families.setdefault(found[2], {})[found[1]] = value
    limits: dict[LimitUnit, ServerLimit] = {}
    for family, facts in families.items():
        unit, limit = _LIMIT_UNITS.get(family), _parse_digits(facts.get("limit"))
        if unit and limit is not None and (family == unit or unit not in limits):
            limits[unit] = ServerLimit(limit)
    explicit = _parse_digits(families.get("images", {}).get("limit")) is not None
    in_message, requested = _parse_message(message)
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


def _parse_message(message: str) -> tuple[dict[LimitUnit, ServerLimit], int | None]:
    found, counted, asked = _LIMIT.search(message), _PER.search(message), _REQUESTED.search(message)
    requested = _parse_integer(asked[1]) if asked else None
    if not found:
        return {}, requested
    per: float | None = None
    if found[3]:
        per = float(found[2] or 1) * _SECONDS[found[3][0].lower()]
    elif counted:
        per = _SECONDS[counted[2][0].lower()]
    what: LimitUnit = "images"
    if counted:
        what = _LIMIT_UNITS[counted[1].lower()]
    return {what: ServerLimit(_parse_integer(found[1]), per or None)}, requested


def _parse_integer(number: str) -> int:
    """Read a number with or without separators of thousands."""
    return int(re.sub(r"\D", "", number))


def _waits(
    headers: Mapping[str, str],
    families: Mapping[str, Mapping[str, str]],
    message: str,
    now: datetime,
    retry_delay: str | None,
) -> tuple[float, ...]:
    waits: list[float | None] = []
    milliseconds = _parse_float(headers.get("retry-after-ms"))
    waits.append(None if milliseconds is None else milliseconds / 1000)
    seconds = _parse_float(headers.get("retry-after"))
    in_words = None
    if found := _TRY_AGAIN.search(message):
        in_words = _parse_duration(found[1])
    # Whole seconds are rounded; words often have the fraction.
    if seconds is not None and in_words is not None and abs(seconds - in_words) <= 1:
        seconds = None
    waits += [
        seconds,
        _parse_delay(headers.get("retry-after"), now),
        in_words,
        _parse_delay(retry_delay, now),
    ]
    waits += [
        _parse_reset(facts.get("reset"), now)
        for family, facts in families.items()
        if family in _LIMIT_UNITS and _parse_digits(facts.get("remaining")) == 0
    ]
    return tuple(wait for wait in waits if wait is not None)


def _parse_delay(text: str | None, now: datetime) -> float | None:
    """Read ``26s`` or an HTTP date."""
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
    """Read ``58.891s``, ``6m0s``, seconds, or a moment in seconds since 1970."""
    if text is None:
        return None
    if _WHOLE_DURATION.fullmatch(text.strip()):
        return _parse_duration(text)
    number = _parse_float(text)
    if number is not None and number > 1e8:
        return max(0.0, number - now.timestamp())
    return number


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
