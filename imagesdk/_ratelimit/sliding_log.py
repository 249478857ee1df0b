"""Sliding log of one limit: the requests of the last window, and the capacity that they leave.

A request takes capacity when its permit is granted, and frees it one window after it was *sent*. That is safe against
every kind of server-side limit: fixed windows, sliding windows and token buckets.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from operator import itemgetter
from typing import NamedTuple

from imagesdk._ratelimit.queue import Permit
from imagesdk.policies import RateLimit

WINDOW_MARGIN_FACTOR = 1.005
"""Length of the client's window in windows of the server, because clocks differ a little."""
TRAVEL_SECONDS = 0.05
"""Added to the window: the server counts a request when it arrives, the client when it is sent."""
BRISK_TRAVEL_WINDOWS = 1 / 100
"""Most that is added for a brisk limit, in windows."""
UNSENT = math.inf
"""When a granted request that was not sent frees its capacity."""


def window_seconds(limit: RateLimit, *, brisk: bool = False) -> float:
    """Return the seconds from the sending of a request until its capacity is free again."""
    travel = min(TRAVEL_SECONDS, limit.per * BRISK_TRAVEL_WINDOWS) if brisk else TRAVEL_SECONDS
    return limit.per * WINDOW_MARGIN_FACTOR + travel


class Capacity(NamedTuple):
    """Part of a limit."""

    images: int = 0
    requests: int = 0
    tokens: int = 0


NO_CAPACITY = Capacity()


class SlidingLog:
    """Granted and sent requests that take capacity of one limit.

    A *brisk* limit adds less to short windows, because the times of sending are upper bounds already.
    """

    def __init__(self, limit: RateLimit, *, brisk: bool = False) -> None:
        self.limit = limit
        self.window_seconds = window_seconds(limit, brisk=brisk)
        self._brisk = brisk
        self.images = self.requests = self.tokens = 0
        """Capacity that is taken."""
        self._free_at: dict[Permit, float] = {}
        self._ends: deque[tuple[float, Permit]] = deque()  # sorted by time; some permits may have left
        self._freed: list[tuple[float, Capacity]] | None = None  # cache of freed()

    def __bool__(self) -> bool:
        return bool(self._free_at)

    def __contains__(self, permit: Permit) -> bool:
        return permit in self._free_at

    def unsent(self) -> list[Permit]:
        """Return the granted permits whose requests were not sent."""
        return [permit for permit, free_at in self._free_at.items() if free_at == UNSENT]

    def sent(self) -> Iterator[tuple[Permit, float]]:
        """Yield the sent requests and the times when their capacity is free, soonest first."""
        return ((permit, free_at) for free_at, permit in self._ends if self._free_at.get(permit) == free_at)

    def entries(self) -> Iterator[tuple[Permit, float]]:
        """Yield each request and the time when its capacity is free, :data:`UNSENT` before it is sent."""
        return iter(self._free_at.items())

    def restore(self, permit: Permit, free_at: float) -> None:
        """Add a request of :meth:`entries`."""
        self.grant(permit)
        if free_at != UNSENT:
            self._end(permit, free_at)

    def tokens_of(self, permit: Permit) -> int:
        """Return the tokens of a request, at most those of a whole window: it would wait forever otherwise."""
        return permit.tokens if self.limit.tokens is None else min(permit.tokens, self.limit.tokens)

    def has_capacity(
        self, permit: Permit, freed: Capacity = NO_CAPACITY, max_images: int | None = None
    ) -> bool:
        """Return whether a request fits once ``freed`` is free, below ``max_images`` if that is not the limit's."""
        limit = self.limit
        most = limit.images if max_images is None else max_images
        return (
            self.images - freed.images + permit.weight <= most
            and (limit.requests is None or self.requests - freed.requests < limit.requests)
            and (limit.tokens is None or self.tokens - freed.tokens + self.tokens_of(permit) <= limit.tokens)
        )

    def opens_at(self, permit: Permit, now: float) -> float:
        """Return when a request fits if no other is sent; infinity while that depends on unsent requests."""
        if self.has_capacity(permit):
            return now
        return next((at for at, freed in self.freed() if self.has_capacity(permit, freed)), math.inf)

    def freed(self) -> Iterator[tuple[float, Capacity]]:
        """Yield the times at which capacity is freed, and the capacity that is free by then."""
        images = requests = tokens = 0
        for permit, free_at in self.sent():
            images, requests, tokens = (
                images + permit.weight,
                requests + permit.requests,
                tokens + permit.tokens,
            )
            yield free_at, Capacity(images, requests, tokens)

    def expected_start(
        self, permit: Permit, before: tuple[int, int], begin: float, now: float, max_images: int
    ) -> float:
        """Estimate when a request fits that has so many requests and images before it in the queue."""
        requests, images = before
        limit = self.limit
        start = self._end_of_nth(0, images + permit.weight, self.images, max_images, begin, now)
        if limit.requests is not None:
            start = max(start, self._end_of_nth(1, requests + 1, self.requests, limit.requests, begin, now))
        if limit.tokens is not None:  # the requests before it are assumed to take as many
            needed = (requests + 1) * self.tokens_of(permit)
            start = max(start, self._end_of_nth(2, needed, self.tokens, limit.tokens, begin, now))
        return start

    def grant(self, permit: Permit) -> None:
        """Take capacity for a request that will be sent."""
        self._free_at[permit] = UNSENT
        self.images += permit.weight
        self.requests += permit.requests
        self.tokens += permit.tokens

    def send(self, permit: Permit, sent_at: float) -> None:
        """Start the window of a granted request."""
        if permit in self._free_at:
            self._end(permit, sent_at + self.window_seconds)

    def discard(self, permit: Permit) -> None:
        """Free the capacity of a request."""
        if self._free_at.pop(permit, None) is not None:
            self._freed = None
            self.images -= permit.weight
            self.requests -= permit.requests
            self.tokens -= permit.tokens

    def correct_tokens(self, permit: Permit, tokens: int) -> None:
        """Replace the tokens of a request in the log; the caller then updates the permit."""
        self._freed = None
        self.tokens += tokens - permit.tokens

    def expire(self, now: float) -> None:
        """Free the capacity of requests whose window has ended."""
        ends = self._ends
        while ends and (ends[0][0] <= now or self._free_at.get(ends[0][1]) != ends[0][0]):
            free_at, permit = ends.popleft()
            if self._free_at.get(permit) == free_at:
                self.discard(permit)

    def change_limit(self, limit: RateLimit, *, exact: bool) -> None:
        """Count against another limit. A shorter window applies to later requests only, unless ``exact``: the server named it."""
        self.limit, before = limit, self.window_seconds
        self.window_seconds = seconds = window_seconds(limit, brisk=self._brisk)
        if seconds == before and not exact:
            return
        sent = list(self.sent())
        self._ends.clear()
        for permit, free_at in sent:
            end = _sent_at(permit) + seconds
            self._end(permit, end if exact else max(free_at, end))

    def counted_against(self, limit: RateLimit) -> SlidingLog:
        """Return a log of the same requests for another limit."""
        other = SlidingLog(limit, brisk=self._brisk)
        for permit in self._free_at:
            other.grant(permit)
        for permit, _ in sorted(self.sent(), key=lambda entry: _sent_at(entry[0])):
            other.send(permit, _sent_at(permit))
        return other

    def _end(self, permit: Permit, free_at: float) -> None:
        self._free_at[permit] = free_at
        self._freed = None
        self._ends.append((free_at, permit))
        if len(self._ends) > 1 and self._ends[-2][0] > free_at:  # after a change of the window
            self._ends = deque(sorted(self._ends, key=itemgetter(0)))

    def _end_of_nth(self, unit: int, needed: int, used: int, most: int, begin: float, now: float) -> float:
        """Return when the last of so many images, requests or tokens fits, counted from the first not granted."""
        over = needed - (most - used)
        if over <= 0:
            return begin
        windows, rest = divmod(over - 1, most)
        if self._freed is None:
            self._freed = list(self.freed())
        at = bisect_right(self._freed, rest, key=lambda entry: entry[1][unit])
        # Capacity of requests that are not sent is free one window after they are.
        unsent = (now if rest < used else begin) + self.window_seconds
        end = self._freed[at][0] if at < len(self._freed) else unsent
        return max(begin, end) + windows * self.window_seconds


def _sent_at(permit: Permit) -> float:
    assert permit.sent_at is not None  # noqa: S101 - it is in the log
    return permit.sent_at
