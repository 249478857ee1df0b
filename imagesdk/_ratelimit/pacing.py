"""How far apart requests go: the gap of a burst, the pause after a refusal, and what refusals teach.

A refusal pauses everybody, once for all that were sent before it. A server that refuses with a short wait though the
log has room counts evenly rather than in windows: from then on requests are spaced out, until a time without refusals
suggests to try a burst again. One that says nothing true of its waits, and refuses the first request after each of
several pauses though it took a burst before, is full until what it took has aged: it is asked for no more than that,
until a time without refusals suggests to ask for more. Each such time is longer when what it suggested was wrong.
Times are seconds of any monotonic clock, always given by the caller.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

from imagesdk._ratelimit.queue import Permit
from imagesdk.policies import RateLimit

_PACE, _SLOWEST_PACE = 1.03, 8.0
"""Times the even interval between images that spaced-out requests keep, at least and at most."""
_PACE_UP, _PACE_UP_SOON, _PACE_DOWN = 1.08, 1.3, 0.99
_WARY, _WARY_WINDOWS = 4, 2
"""Times the usual gap that a burst keeps after a refusal, and for how many windows."""
_FASTEST_BURST, _LONGEST_BURST = 1200, 4
"""The gap of a burst is such a part of a window at most, and so small that all of it is over in such a part."""
_FIRST_PAUSE, _PAUSE_GROWS = 60, 3
"""Part of a window that the first pause takes where no wait is told, and times what the one before it took."""
_LONGEST_WAIT, _LONGEST_MINUTES = 2, 120.0
"""Windows, or seconds, as servers may count by the minute though we do by the second: a longer wait is not believed."""
_SHORT = 1.5
"""A wait of so many times what the heaviest request would take of an even limit is a short one."""
_ROUNDING = 30
"""Part of a window by which a wait may be told too long: whole seconds are rounded up."""
_SOON = 4
"""Refusals that are less than such a part of a window apart may mean that somebody else uses the limit, too."""
_PATIENCE, _TRUST = 2, 3
"""So many pauses in a row whose first request was refused show that waiting a little does not help: where the server
told no wait, and where it did."""
_FIRST_SHARE, _SHARE_DOUBLINGS = 2, 4
"""Part of a window after which more than the share is tried, and how often that time may double."""
_PEACE = 10
"""Windows without a refusal after which a server is believed again."""


class Pacer:
    """When the next request may go, but for room."""

    def __init__(self) -> None:
        self.pause_ends = -math.inf
        """Until when nothing goes, because the server refused more."""
        self.pace = 0.0
        """Times the even interval that requests keep; 0 where they go in bursts."""
        self.observed_quota: int | None = None
        """The images in a window that the server seems to have for us, where that is less than the limit."""
        self.quota_until = -math.inf
        """When more than the share is tried again."""
        self._spaced_until = -math.inf
        self._spaced_by: Permit | None = None
        self._wary_until = -math.inf
        self._intervals: list[float] = []  # those after the next grants; then the usual one
        self._refused_at = -math.inf
        self._pauses = 0
        self._paced_until = -math.inf
        self._pace_failures = 0
        self._first: Permit | None = None  # that went after the latest pause
        self._fruitless_pauses = 0  # pauses in a row whose first request was refused
        self._no_retry_hint = False  # the server, about its waits
        self._quota_doublings = 0

    def hold(self, limit: RateLimit) -> None:
        """Go by another limit."""
        self._per = limit.per
        self.even = limit.per / limit.images
        """Seconds from image to image where they go evenly."""
        self.gap = min(limit.per / _FASTEST_BURST, limit.per / (_LONGEST_BURST * limit.images))
        """Seconds between two requests of a burst: a wrong guess then costs few refusals."""
        self._probe = max(self.gap, limit.per / _FIRST_PAUSE)

    @property
    def opens_at(self) -> float:
        """When the next request may go."""
        return max(self._spaced_until, self.pause_ends)

    def renew(self, now: float) -> None:
        """Try again what was given up after a refusal, when its time has come."""
        if self.pace and now >= self._paced_until:
            self.pace = 0.0
            self._intervals = [self.gap, self._probe]  # two at once tell whether bursts are taken again
        if self.observed_quota is not None and now >= self.quota_until:
            self.observed_quota = None
            self._intervals = [self._probe]  # one alone tells whether there is more

    def interval(self, permit: Permit, now: float) -> float:
        """Return the seconds that nobody goes after ``permit``, if it goes now."""
        if self.pace:
            usual = self.pace * self.even * permit.weight
        else:
            usual = self.gap * _WARY if now < self._wary_until else self.gap
        return max(usual, self._intervals[0]) if self._intervals else usual

    def granted(self, permit: Permit, now: float) -> None:
        """Keep the next one away from ``permit``."""
        self._spaced_until = now + self.interval(permit, now)
        self._spaced_by = permit
        self._first = self._first or permit
        if self._intervals:
            del self._intervals[0]

    def sent(self, permit: Permit, now: float) -> None:
        """Count from now, where requests go evenly: such servers do from arrival, which a new connection delays."""
        if self.pace and permit is self._spaced_by:
            self._spaced_until = now + self.pace * self.even * permit.weight

    def returned(self, permit: Permit) -> None:
        """Note that a request was refused: it keeps nobody away, and the share is smaller by it."""
        if permit is self._spaced_by:
            self._spaced_until, self._spaced_by = -math.inf, None
        if self.observed_quota is not None:
            self.observed_quota = max(1, self.observed_quota - permit.weight)

    def refused(
        self,
        permit: Permit,
        now: float,
        waits: Iterable[float],
        *,
        room: bool,
        heaviest: int,
        taken: int,
        log: Sequence[tuple[float, float]],
    ) -> None:
        """Pause after a refusal, and draw conclusions.

        Args:
            permit: the request.
            now: the present.
            waits: seconds that the server asks to wait, the most exact saying first; may be absurd.
            room: whether there should have been room.
            heaviest: the most images that a request has asked for so far.
            taken: images that have room, without the refused ones.
            log: when the requests that take this room were sent, and when it is free again, the first one first.
        """
        self._pauses += 1
        per = self._per
        if now - self._refused_at > _PEACE * per:
            self._no_retry_hint = False
        longest = max(_LONGEST_WAIT * per, _LONGEST_MINUTES)
        wait = next((seconds for seconds in waits if 0 < seconds <= longest), None)
        backoff = min(per, per / _FIRST_PAUSE * _PAUSE_GROWS ** min(self._pauses - 1, 6))
        pause = backoff if wait is None else max(wait, backoff if self._pauses > 1 else 0.0)
        self._fruitless_pauses = (
            self._fruitless_pauses + 1 if permit is self._first and self._refused_at > -math.inf else 0
        )
        self._first = None
        patience = _PATIENCE if wait is None else _TRUST
        full = self._no_retry_hint or (self._fruitless_pauses >= patience and self._burst_in(log))
        if full and room and log:
            pause = max(pause, log[0][1] - now)
            self._keep_to(taken, now, pause)
        else:
            self._space_out(wait, now, pause, room=room, heaviest=heaviest)
        self.pause_ends = max(self.pause_ends, now + pause)
        self._refused_at = now
        self._wary_until = now + _WARY_WINDOWS * per
        self._intervals = [self._probe, self.gap, self._probe]  # one alone, and then two at once, tell most

    def accepted(self, permit: Permit) -> None:
        """Note that the server took a request."""
        if permit.sent_at is not None and permit.sent_at >= self.pause_ends:
            self._pauses = 0
        if self.pace:
            self.pace = max(_PACE, self.pace * _PACE_DOWN**permit.weight)

    def _burst_in(self, log: Sequence[tuple[float, float]]) -> bool:
        """Whether two requests were taken so soon one after the other as no server would that counts evenly."""
        times = sorted(sent_at for sent_at, _ in log)
        return any(later - sooner < self.even / 2 for sooner, later in pairwise(times))

    def _keep_to(self, taken: int, now: float, pause: float) -> None:
        soon = self._no_retry_hint and now - self.quota_until < self._per
        self._quota_doublings = min(self._quota_doublings + 1, _SHARE_DOUBLINGS) if soon else 0
        self._no_retry_hint = True
        self.pace = 0.0
        self.observed_quota = taken
        self.quota_until = now + pause + self._per / _FIRST_SHARE * 2**self._quota_doublings

    def _space_out(self, wait: float | None, now: float, pause: float, *, room: bool, heaviest: int) -> None:
        if (
            self.pace and self._fruitless_pauses and wait is None
        ):  # the pause was too short, and nothing is said of the pace
            self._paced_until = max(self._paced_until, now + pause + self._per)
            return
        if self.pace:
            soon = now - self._refused_at < self._per / _SOON
            self.pace = min(_SLOWEST_PACE, self.pace * (_PACE_UP_SOON if soon else _PACE_UP))
        elif room and (
            now - self._refused_at < self._per
            if wait is None
            else wait <= _SHORT * heaviest * self.even + self._per / _ROUNDING
        ):
            self.pace = _PACE
            self._pace_failures += 1
        if self.pace:
            self._paced_until = now + pause + self._per * 4 ** min(self._pace_failures - 1, 10)
