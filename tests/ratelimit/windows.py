"""Short names for what tests do with sliding windows."""

from __future__ import annotations

from typing import Any

from imagesdk._protocol.server_limits import LimitUnit, ServerLimit, ServerLimits
from imagesdk._ratelimit.queue import Permit
from imagesdk._ratelimit.sliding_log import window_seconds
from imagesdk._ratelimit.window import SlidingWindow
from imagesdk.policies import RateLimit

AGED = window_seconds(RateLimit(1, 60.0))
"""Seconds after which a request takes no capacity of a minute's limit any more."""


def window(images: int = 4, per: float = 60.0, *, adaptive: bool = False, **limits: Any) -> SlidingWindow:
    return SlidingWindow(RateLimit(images, per, **limits), adaptive=adaptive)


def waits(*seconds: float) -> ServerLimits:
    """A response that states waits and no limit."""
    return ServerLimits(waits=seconds)


def names(
    limit: int,
    per: float | None = None,
    *,
    what: LimitUnit = "images",
    explicit: bool = True,
    wait: float | None = None,
) -> ServerLimits:
    """A response that states a limit."""
    waits = () if wait is None else (wait,)
    return ServerLimits(waits, {what: ServerLimit(limit, per)}, explicit=explicit, exceeded=what)


def starts(rate_window: SlidingWindow, now: float, until: float) -> list[tuple[Permit, float]]:
    """Permits granted from ``now`` to ``until``, each sent at once, and when."""
    found: list[tuple[Permit, float]] = []
    while now <= until:
        granted, next_at = rate_window.grant_ready(now)
        for permit in granted:
            rate_window.sent(permit, now)
            found.append((permit, now))
        if granted:
            next_at = rate_window.grant_ready(now)[1]
        if next_at is None:
            break
        now = next_at
    return found


def grants(rate_window: SlidingWindow, now: float) -> list[Permit]:
    """Permits granted in a burst that begins now, each sent at once."""
    found: list[Permit] = []
    while True:
        granted, next_at = rate_window.grant_ready(now)
        for permit in granted:
            rate_window.sent(permit, now)
        found += granted
        if next_at is None or next_at > now + 2 * rate_window.pacer.gap:
            return found
        now = next_at


def sent_now(rate_window: SlidingWindow, now: float, weight: int = 1, tokens: int = 0) -> Permit:
    permit = rate_window.enqueue(weight, tokens)
    assert grants(rate_window, now) == [permit]
    return permit
