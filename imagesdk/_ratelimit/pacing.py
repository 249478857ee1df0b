"""Minimum distance between requests: burst gap, pause after a 429, and adaptive pacing.

Three modes:

- ``burst`` (default): requests go out with a small gap while the window has capacity.
- ``paced``: after a 429 with a short Retry-After although capacity was left, the server is assumed to refill evenly
  (token bucket). Requests are spaced evenly until a quiet period has passed; then bursts are tried again.
- ``observed quota``: after several 429s without a usable Retry-After, the account is assumed to be shared. At most as
  many images as were accepted in the last window are sent, with occasional single probes for more.

A 429 that no limit explains (:mod:`imagesdk._ratelimit.noise`) changes no mode.
A 429 pauses everyone, once for all requests that were sent before it. Times are seconds of a monotonic clock, passed
in by the caller.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from imagesdk._ratelimit.noise import Noise, WindowUsage
from imagesdk._ratelimit.queue import Permit
from imagesdk.policies import RateLimit

MAX_GAP_WINDOWS = 1 / 1200
"""Longest gap between two requests of a burst."""
MIN_GAP_SECONDS = 0.005
"""Shortest such gap, if the burst takes no longer than below: an answer takes milliseconds in short windows, too."""
BRISK_GAP_WINDOWS = 1 / 3000
"""Longest gap in short windows of a brisk limit."""
MAX_BURST_WINDOWS = 1 / 4
"""Longest time that the gaps of a whole burst may take."""
WARY_GAP_FACTOR = 4
"""Gap of a burst after a 429, in usual gaps."""
WARY_WINDOWS = 2
"""Time after a 429 in which bursts keep the longer gap."""
PROBE_WINDOWS = 1 / 60
"""Distance to the next request after a probe: a single request, or two in a burst."""

FIRST_PAUSE_WINDOWS = 1 / 60
"""First pause without a usable Retry-After."""
PAUSE_GROWTH_FACTOR = 3.0
"""Each further pause without an accepted request between them, in pauses before it."""
MAX_PAUSE_GROWTHS = 6
"""Growth steps after which a pause is a whole window in any case."""
MAX_RETRY_AFTER_WINDOWS = 2
"""Longest usable Retry-After, if it exceeds the one in seconds."""
MAX_RETRY_AFTER_SECONDS = 120.0
"""Longest usable Retry-After of short windows: a server may count by the minute where the client counts by the second."""

MIN_PACE_INTERVALS = 1.03
"""Shortest distance of paced requests, in even intervals between images."""
MAX_PACE_INTERVALS = 8.0
"""Longest distance of paced requests, in even intervals between images."""
PACE_INCREASE_FACTOR = 1.15
"""Change of the paced distance at a 429."""
PACE_INCREASE_FACTOR_SOON = 1.3
"""Change of the paced distance at a 429 soon after another: somebody else may use the limit, too."""
SOON_WINDOWS = 1 / 4
"""Time between two 429s that are soon after each other."""
PACE_ABOVE_REFUSED = 1.05
"""Shortest paced distance after a 429, in the distance that was refused."""
MAX_REFUSED_PACES = 1.3
"""Longest distance that counts as refused, in the pace: what was sent even later was rejected for another reason."""
PACE_DECREASE_FACTOR = 0.992
"""Change of the paced distance for each accepted image."""
SHORT_WAIT_REQUESTS = 1.5
"""Longest Retry-After of an evenly counting server, in even intervals of the largest request."""
ROUNDING_WINDOWS = 1 / 30
"""Added to a short Retry-After, because servers round it up."""
ROUNDING_SECONDS = 2.0
"""The same for short windows: whole seconds are rounded up, and dates twice."""
PACE_GROWTH_FACTOR = 4.0
"""Windows until bursts are tried again, in those that the pace before it lasted."""
MAX_PACE_GROWTHS = 10
"""Growth steps of the time until bursts are tried again."""

MAX_SHARED_PAUSES = 2
"""Growth steps of a pause on a shared account, where something was accepted after the pause before it."""

FRUITLESS_PAUSES = 2
"""Pauses in a row, without a Retry-After, whose first request was rejected: waiting a little does not help."""
FRUITLESS_PAUSES_WITH_HINT = 3
"""The same where the server sends a Retry-After."""
UNEXPLAINED_PAUSES = 2
"""Further pauses where requests were accepted after 429s although nothing had aged."""
QUOTA_WINDOWS = 1 / 2
"""Time until a probe for more than the observed quota."""
MAX_QUOTA_DOUBLINGS = 4
"""Doublings of that time after probes that were rejected."""
FORGIVENESS_WINDOWS = 10
"""Time without a 429 after which the server's Retry-After is trusted again."""

_PERMITS = ("_gap_permit", "_first_permit")
"""Attributes of a pacer that are permits."""
_OF_LIMIT = ("_limit", "_per", "even_interval", "gap", "_probe_gap", "_brisk")
"""Attributes of a pacer that follow from its limit."""


class Pacer:
    """Decides when the next request may be sent, apart from capacity."""

    def __init__(self, limit: RateLimit, *, brisk: bool = False) -> None:
        self._brisk = brisk
        self.pause_ends = -math.inf
        """End of the pause after the last 429."""
        self.pace = 0.0
        """Distance of paced requests, in even intervals; 0 in bursts."""
        self.observed_quota: int | None = None
        """Images in a window that the server seems to accept, if fewer than the limit."""
        self.quota_ends = -math.inf
        """When more than the observed quota is tried."""
        self._gap_ends = -math.inf
        self._gap_permit: Permit | None = None  # that started the gap
        self._next_gaps: list[float] = []  # shortest gaps after the next grants
        self._wary_until = -math.inf
        self._rejected_at = -math.inf
        self._pauses = 0  # since a request was accepted
        self._paced_until = -math.inf
        self._pace_failures = 0
        self._first_permit: Permit | None = None  # that was granted after the last pause
        self._fruitless_pauses = 0
        self._no_retry_hint = False
        self._quota_doublings = 0
        self._refused_pace = 0.0  # the longest distance that was refused, in even intervals
        self._refused_sent_at = math.inf
        self._noise = Noise()
        self.change_limit(limit)

    def change_limit(self, limit: RateLimit) -> None:
        """Pace requests by another limit."""
        self._limit, self._per = limit, limit.per
        self.even_interval = limit.per / limit.images
        """Seconds between images that are sent evenly."""
        longest = limit.per * MAX_GAP_WINDOWS
        if longest < MIN_GAP_SECONDS:
            longest = limit.per * BRISK_GAP_WINDOWS if self._brisk else MIN_GAP_SECONDS
        self.gap = min(longest, self.even_interval * MAX_BURST_WINDOWS)
        """Seconds between two requests of a burst, so that a wrong guess costs few 429s."""
        self._probe_gap = max(self.gap, limit.per * PROBE_WINDOWS)

    def dump(self, reference: Callable[[Permit], object]) -> dict[str, Any]:
        """Return the state as JSON values. ``reference`` returns the JSON value of a permit."""
        state = {name: value for name, value in vars(self).items() if name not in _OF_LIMIT}
        for name in _PERMITS:
            state[name] = None if state[name] is None else reference(state[name])
        return {**state, "_noise": self._noise.dump()}

    def load(self, state: dict[str, Any], permit_of: Callable[[Any], Permit]) -> None:
        """Continue with the state of :meth:`dump`; ``permit_of`` returns the permit of a reference."""
        permits = {name: None if state[name] is None else permit_of(state[name]) for name in _PERMITS}
        noise = Noise()
        noise.load(state["_noise"])
        vars(self).update({**state, **permits, "_noise": noise})

    @property
    def opens_at(self) -> float:
        """When the next request may be sent."""
        return max(self._gap_ends, self.pause_ends)

    def renew(self, now: float) -> None:
        """Leave a mode whose time is over, with a probe."""
        if self.pace and now >= self._paced_until:
            self.pace = 0.0
            self._next_gaps = [self.gap, self._probe_gap]  # a burst of two
        if self.observed_quota is not None and now >= self.quota_ends:
            self.observed_quota = None
            self._next_gaps = [self._probe_gap]  # a single request

    def gap_after(self, permit: Permit, now: float) -> float:
        """Return the seconds until the next request, if ``permit`` is granted now."""
        if self.pace:
            usual = self._paced_gap(permit)
        else:
            usual = self.gap * WARY_GAP_FACTOR if now < self._wary_until else self.gap
        return max(usual, self._next_gaps[0]) if self._next_gaps else usual

    def granted(self, permit: Permit, now: float) -> None:
        """Start the gap after a request."""
        self._gap_ends = now + self.gap_after(permit, now)
        self._gap_permit = permit
        self._first_permit = self._first_permit or permit
        if self._next_gaps:
            del self._next_gaps[0]

    def sent(self, permit: Permit, now: float) -> None:
        """Start a paced gap anew: the server counts from the arrival, which a new connection delays."""
        if self.pace and permit is self._gap_permit:
            self._gap_ends = now + self._paced_gap(permit)

    def returned(self, permit: Permit) -> None:
        """Undo what a rejected request did: it starts no gap, and the quota is smaller by it."""
        if permit is self._gap_permit:
            self._gap_ends, self._gap_permit = -math.inf, None
        if self.observed_quota is not None:
            self.observed_quota = max(1, self.observed_quota - permit.weight)

    def rejected(self, permit: Permit, now: float, waits: Iterable[float], usage: WindowUsage) -> None:
        """Pause after a 429, in which the server asks for ``waits`` (the most exact first), and choose the next mode."""
        if now - self._rejected_at > FORGIVENESS_WINDOWS * self._per:
            self._no_retry_hint = False
            self._refused_pace = 0.0
            self._noise.forget()
        longest = max(MAX_RETRY_AFTER_WINDOWS * self._per, MAX_RETRY_AFTER_SECONDS)
        wait = next((seconds for seconds in waits if 0 < seconds <= longest), None)
        is_fruitless = permit is self._first_permit and self._rejected_at > -math.inf
        self._fruitless_pauses = self._fruitless_pauses + 1 if is_fruitless else 0
        self._first_permit = None
        if self._noise.explains(permit.weight, usage, self._limit):
            self._ignore(now)
            return
        if not is_fruitless:  # what was sent after the pause is not rejected, though its answer may take long
            self._pauses = min(self._pauses, MAX_SHARED_PAUSES) if self._no_retry_hint and wait is None else 0
        pause = self._pause(wait)
        if usage.has_capacity and usage.sent and self._account_is_shared(wait, usage):
            pause = max(pause, usage.next_free_at - now)
            self._keep_to_quota(usage.images, now, now + pause)
        else:
            pause = max(pause, self._pace_requests(wait, now, now + pause, usage) - now)
        self.pause_ends = max(self.pause_ends, now + pause)
        self._rejected_at = now
        self._refused_sent_at = usage.sent_at
        self._wary_until = now + WARY_WINDOWS * self._per
        # A single request, then a burst of two.
        self._next_gaps = [self._probe_gap, self.gap, self._probe_gap]

    def accepted(self, permit: Permit) -> None:
        """Note that the server accepted a request."""
        if permit.sent_at is not None and permit.sent_at >= self.pause_ends:
            self._pauses = 0
        if self.pace:
            decrease = PACE_DECREASE_FACTOR**permit.weight
            self.pace = max(MIN_PACE_INTERVALS, self._refused_pace, self.pace * decrease)
            self._refused_pace *= 0.997**permit.weight

    def _paced_gap(self, permit: Permit) -> float:
        return self.pace * self.even_interval * permit.weight

    def _pause(self, wait: float | None) -> float:
        growth = PAUSE_GROWTH_FACTOR ** min(self._pauses, MAX_PAUSE_GROWTHS)
        backoff = self._per * min(1.0, FIRST_PAUSE_WINDOWS * growth)
        self._pauses += 1
        if wait is None:
            return backoff
        return wait if self._pauses == 1 else max(wait, backoff)

    def _account_is_shared(self, wait: float | None, usage: WindowUsage) -> bool:
        if self._no_retry_hint:
            return True
        patience = FRUITLESS_PAUSES if wait is None else FRUITLESS_PAUSES_WITH_HINT
        patience += UNEXPLAINED_PAUSES * self._noise.is_no_window
        # A server that accepted a burst does not count evenly.
        return self._fruitless_pauses >= patience and usage.has_burst(self.even_interval / 2)

    def _keep_to_quota(self, images: int, now: float, pause_ends: float) -> None:
        is_rejected_probe = self._no_retry_hint and now - self.quota_ends < self._per
        doublings = self._quota_doublings + 1 if is_rejected_probe else 0
        self._quota_doublings = min(doublings, MAX_QUOTA_DOUBLINGS)
        self._no_retry_hint = True
        self.pace = 0.0
        self.observed_quota = images
        self.quota_ends = pause_ends + self._per * QUOTA_WINDOWS * 2**self._quota_doublings

    def _pace_requests(self, wait: float | None, now: float, pause_ends: float, usage: WindowUsage) -> float:
        """Choose the pace, and return when the next request is due by it."""
        latest, was_paced = usage.latest, bool(self.pace) or self._retries_bursts(now)
        counts_evenly = self._counts_evenly(wait, now, usage)
        stated = 0.0 if counts_evenly else self._stated_interval(wait, usage) / self.even_interval
        if self.pace and latest is not None:
            refused = (usage.sent_at - latest.sent_at) / (latest.images * self.even_interval)
            if refused <= MAX_REFUSED_PACES * self.pace:
                self._refused_pace = max(self._refused_pace, refused)
        if self.pace and self._fruitless_pauses and wait is None:  # the pause was too short, not the pace
            self._paced_until = max(self._paced_until, pause_ends + self._per)
        elif self.pace:
            is_soon = now - max(self._rejected_at, self.pause_ends) < SOON_WINDOWS * self._per
            factor = PACE_INCREASE_FACTOR_SOON if is_soon else PACE_INCREASE_FACTOR
            self.pace = min(MAX_PACE_INTERVALS, self.pace * factor)
            self._stay_paced(pause_ends)
        elif usage.has_capacity and (counts_evenly or stated):
            self.pace = min(MAX_PACE_INTERVALS, max(MIN_PACE_INTERVALS, stated))
            self._pace_failures += 1
            self._stay_paced(pause_ends)
        if not self.pace:
            return now
        self.pace = max(self.pace, min(MAX_PACE_INTERVALS, self._refused_pace * PACE_ABOVE_REFUSED))
        if latest is None or self._fruitless_pauses or not (was_paced or usage.limit_is_stated):
            return now
        return latest.sent_at + self.pace * self.even_interval * latest.images

    def _stay_paced(self, pause_ends: float) -> None:
        growth = PACE_GROWTH_FACTOR ** min(self._pace_failures - 1, MAX_PACE_GROWTHS)
        self._paced_until = pause_ends + self._per * growth

    def _ignore(self, now: float) -> None:
        """Continue soon after a 429 that says nothing about the limit."""
        self.pace, self.observed_quota = 0.0, None
        growth = PAUSE_GROWTH_FACTOR ** min(self._fruitless_pauses, MAX_PAUSE_GROWTHS)
        self.pause_ends = max(self.pause_ends, now + min(self._per, self.gap * WARY_GAP_FACTOR * growth))
        self._rejected_at = now
        self._next_gaps = []

    def _retries_bursts(self, now: float) -> bool:
        return 0 <= now - self._paced_until < SOON_WINDOWS * self._per

    def _stated_interval(self, wait: float | None, usage: WindowUsage) -> float:
        """Return the seconds between images that a long Retry-After implies, if what was accepted agrees; 0 otherwise."""
        run = [] if wait is None or self._fruitless_pauses else usage.since(self._refused_sent_at)
        if wait is None or not run or self._noise.is_no_bucket(self._limit):
            return 0.0
        latest = run[-1]
        interval = (wait + usage.sent_at - latest.sent_at) / latest.images
        accepted = sum(each.images for each in run[:-1])
        return interval if accepted * interval <= usage.sent_at - self._refused_sent_at else 0.0

    def _counts_evenly(self, wait: float | None, now: float, usage: WindowUsage) -> bool:
        if self._noise.is_no_bucket(self._limit):
            return False
        if wait is None:
            is_second = now - self._rejected_at < self._per
            return is_second or usage.limit_is_stated or self._retries_bursts(now)
        short = SHORT_WAIT_REQUESTS * usage.largest_request * self.even_interval
        if usage.limit_is_stated:  # it may ask to wait until its bucket is full
            short = max(short, usage.images * self.even_interval)
        return wait <= short + max(ROUNDING_WINDOWS * self._per, ROUNDING_SECONDS)
