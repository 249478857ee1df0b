"""429s that no limit explains: a server that rejects requests by chance, and accepts others soon after.

Two kinds of limit can be excluded. A bucket that refills evenly was empty at a 429, so that the requests accepted after
it bound its interval from above, and the distance of the next rejected one bounds it from below. A window has no
capacity after a 429 until requests have aged, or until it begins anew, once. Requests that were sent and not rejected
count as accepted: a success takes seconds, a 429 none.

Such 429s are ignored while more is accepted than rejected. Others who share the account can look like chance, so that
this is tried once.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from attrs import asdict, evolve, frozen

from imagesdk.policies import RateLimit

NOISE_JITTER_SECONDS = 0.1
"""By how much the distance of arrivals may differ from that of sending."""
NOISE_JITTER_FACTOR = 1.1
"""The same for long distances."""
NOISE_JITTER_WINDOWS = 1 / 150
"""Most of it in short windows."""
NOISE_CREDIT = 5.0
"""What 429s of chance use up until they are taken seriously again; each accepted image between them adds one."""
WEAK_CREDIT = 1.5
"""The same where only the distances of requests contradict each other."""
MAX_NOISE_CREDIT = 8.0
"""Most of it."""
NOISE_COST = 1.4
"""What a 429 takes from it."""


@frozen
class SentRequest:
    """A request that takes capacity."""

    sent_at: float
    free_at: float
    images: int


@frozen
class WindowUsage:
    """State of a window at the moment of a 429, without the rejected request."""

    sent_at: float
    """When the rejected request was sent."""
    has_capacity: bool
    """Whether the rejected request should have fitted."""
    images: int
    """Images that take capacity."""
    limit_is_stated: bool
    """Whether the 429 states the limit in force."""
    largest_request: int
    """Most images that a request has asked for."""
    sent: tuple[SentRequest, ...]
    """The other requests, in the order in which they free their capacity."""

    @property
    def next_free_at(self) -> float:
        """When capacity is freed next."""
        return self.sent[0].free_at

    @property
    def latest(self) -> SentRequest | None:
        """The last request before the rejected one."""
        return max(self.since(-math.inf), key=lambda each: each.sent_at, default=None)

    def since(self, moment: float) -> list[SentRequest]:
        """Return the requests that were sent after ``moment`` and before the rejected one, in this order."""
        found = (each for each in self.sent if moment < each.sent_at < self.sent_at)
        return sorted(found, key=lambda each: each.sent_at)

    def has_burst(self, seconds: float) -> bool:
        """Return whether two requests were accepted within ``seconds``."""
        times = sorted(each.sent_at for each in self.sent)
        return any(later - sooner < seconds for sooner, later in pairwise(times))


class Noise:
    """Evidence for and against 429s by chance."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self._credit = 0.0
        self._spent = False
        self._last: tuple[int, WindowUsage] | None = None
        self._recoveries: list[float] = []
        self._most, self._least = math.inf, 0.0  # seconds between the images of a bucket

    def dump(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        last = None
        if self._last is not None:
            weight, usage = self._last  # the first of its requests is all that counts later
            last = [weight, asdict(evolve(usage, sent=usage.sent[:1]))]
        return {**vars(self), "_last": last}

    def load(self, state: dict[str, Any]) -> None:
        """Continue with the state of :meth:`dump`."""
        last = state["_last"]
        if last is not None:
            weight, usage = last
            usage["sent"] = tuple(SentRequest(**each) for each in usage["sent"])
            last = weight, WindowUsage(**usage)
        vars(self).update({**state, "_last": last})

    @property
    def is_no_window(self) -> bool:
        """Whether requests were accepted after the last two 429s, although nothing had aged."""
        return not self._spent and len(self._recoveries) > 1

    def is_no_bucket(self, limit: RateLimit) -> bool:
        """Whether no bucket that refills at most so fast would have accepted so many soon after a 429."""
        return not self._spent and self._most + _jitter(limit) < limit.per / limit.images

    def contradicts_itself(self, limit: RateLimit) -> bool:
        """Whether a distance was rejected that was accepted before."""
        return self._least > self._most * NOISE_JITTER_FACTOR + _jitter(limit)

    def explains(self, weight: int, usage: WindowUsage, limit: RateLimit) -> bool:
        """Take a 429 into account, and return whether it says nothing about the limit."""
        last, self._last = self._last, (weight, usage)
        self._recoveries = [at for at in self._recoveries if at > usage.sent_at - limit.per]
        if last is None or not (usage.has_capacity and last[1].has_capacity):
            return False
        run = usage.since(last[1].sent_at)
        images = sum(each.images for each in run)
        if run and all(each.free_at > usage.sent_at for each in last[1].sent[:1]):
            self._recoveries.append(usage.sent_at)
            self._bound(run, *last)
            gap = usage.sent_at - run[-1].sent_at
            self._least = max(self._least, gap / max(weight, run[-1].images))
        if self._credit:
            self._credit = min(MAX_NOISE_CREDIT, self._credit + images) - NOISE_COST
            self._spent = self._credit <= 0
            self._credit = max(0.0, self._credit)
        elif self.is_no_window and self.is_no_bucket(limit):
            self._credit = NOISE_CREDIT
        elif self.is_no_window and self.contradicts_itself(limit):
            self._credit = WEAK_CREDIT
        return self._credit > 0

    def _bound(self, run: list[SentRequest], weight: int, last: WindowUsage) -> None:
        images = 0
        for each in run:
            images += each.images
            if beyond := images - max(weight, each.images):
                self._most = min(self._most, (each.sent_at - last.sent_at) / beyond)


def _jitter(limit: RateLimit) -> float:
    return min(NOISE_JITTER_SECONDS, NOISE_JITTER_WINDOWS * limit.per)
