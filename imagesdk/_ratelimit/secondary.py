"""Limits that hold beside the one in force, because they have other windows.

They are few and rare: two clients of one account that name different windows, or one that names a limit by the second at
a server that counts by the minute. So what they need is looked through rather than kept up to date.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable

from imagesdk._ratelimit.queue import Permit
from imagesdk.policies import RateLimit

_MARGIN = 1.005
"""Our window is this many times the server's, for clocks that differ a little."""
_TRAVEL = 0.05
"""Seconds on top: the server counts a request when it has arrived, we when it has left."""


def window_seconds(limit: RateLimit) -> float:
    """Return the seconds from a request's sending until its room is free again."""
    return limit.per * _MARGIN + _TRAVEL


class SecondaryLimits:
    """All limits that were named, and what was sent in the windows of those that need to be looked after."""

    def __init__(self) -> None:
        self._named: list[RateLimit] = []
        self._limits: list[RateLimit] = []  # those that the one in force does not keep by itself
        self._log: deque[tuple[float, Permit]] = (
            deque()
        )  # by the time of sending, with some that were refused

    def __bool__(self) -> bool:
        return bool(self._limits)

    def add(self, limit: RateLimit) -> None:
        """Keep to another limit."""
        self._named.append(limit)

    def set_primary(self, limit: RateLimit, sent: Iterable[Permit]) -> None:
        """Look after what ``limit``, which is in force now, does not keep by itself; ``sent`` is what it counts."""
        began = not self._limits
        self._limits = [named for named in self._named if not _within(limit, named)]
        if began:
            self._log = deque((permit.sent_at, permit) for permit in sent if permit.sent_at is not None)
            self._sort()

    def sent(self, permit: Permit, sent_at: float) -> None:
        """Count a request."""
        if not self._limits:
            return
        self._log.append((sent_at, permit))
        if len(self._log) > 1 and self._log[-2][0] > sent_at:
            self._sort()
        longest = max(map(window_seconds, self._limits))
        while self._log[0][0] + longest <= sent_at:
            self._log.popleft()

    def fits(self, weight: int) -> bool:
        """Whether a request of this weight can ever go."""
        return all(weight <= limit.images for limit in self._limits)

    def opens_at(self, permit: Permit, unsent: Collection[Permit], now: float) -> float:
        """Return when ``permit`` may go if nothing else is sent; infinity while that depends on the ``unsent``."""
        return max((self._opens_at(limit, permit, unsent, now) for limit in self._limits), default=now)

    def span(self, requests: int, images: int) -> float:
        """Return about how many seconds so many take."""
        return max(
            (
                limit.per * max(images / limit.images, requests / (limit.requests or math.inf))
                for limit in self._limits
            ),
            default=0.0,
        )

    def _opens_at(self, limit: RateLimit, permit: Permit, unsent: Collection[Permit], now: float) -> float:
        images, requests = permit.weight, 1
        tokens = min(permit.tokens, limit.tokens or 0)
        for other in unsent:
            images, requests, tokens = images + other.weight, requests + 1, tokens + other.tokens
        if _exceeds(limit, images, requests, tokens):
            return math.inf
        span = window_seconds(limit)
        for sent_at, other in reversed(self._log):
            if sent_at + span <= now:
                break
            if other.sent_at != sent_at:  # it was refused
                continue
            images, requests, tokens = images + other.weight, requests + 1, tokens + other.tokens
            if _exceeds(limit, images, requests, tokens):
                return sent_at + span  # by then those before it have aged, too
        return now

    def _sort(self) -> None:
        self._log = deque(sorted(self._log, key=lambda entry: entry[0]))


def _exceeds(limit: RateLimit, images: int, requests: int, tokens: int) -> bool:
    return (
        images > limit.images
        or (limit.requests is not None and requests > limit.requests)
        or (limit.tokens is not None and tokens > limit.tokens)
    )


def _within(limit: RateLimit, other: RateLimit) -> bool:
    """Whether what keeps to ``limit`` keeps to ``other``, too."""
    pairs = ((limit.images, other.images), (limit.requests, other.requests), (limit.tokens, other.tokens))
    times = other.per / limit.per
    return times >= 1 and all(
        theirs is None or (ours is not None and ours * math.ceil(times) <= theirs) for ours, theirs in pairs
    )
