"""Rate limit as a pure state machine: sliding logs of what was sent, and the queue of what waits.

The queue is first come, first served. While its head waits for capacity, a later request is granted if it fits both now
and beside the head at the time when the head is granted (EASY backfilling: Lifka, 1995).

Several limits with different windows may apply. The one in force is replaced by what the server states; the others each
have a log of their own, and a permit is granted when it fits all of them. Times are seconds of a monotonic clock, passed
in by the caller.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any, Literal, TypeAlias

from attrs import evolve, frozen

from imagesdk._protocol.server_limits import ServerLimit, ServerLimits
from imagesdk._ratelimit.noise import SentRequest, WindowUsage
from imagesdk._ratelimit.pacing import Pacer
from imagesdk._ratelimit.queue import Permit, WaitQueue
from imagesdk._ratelimit.sliding_log import NO_CAPACITY, Capacity, SlidingLog
from imagesdk.policies import RateLimit

HEADER_WINDOW_SECONDS = 60.0
"""Window of a limit in a header, which names none; a shorter window of the client is kept."""
BACKFILL_DEPTH = 64
"""Permits after the head that are tried when the head does not fit."""

MOMENTS = 1000
"""Parts of a window whose requests of other processes count together: a run may resume with very many."""

LimitSource: TypeAlias = Literal["default", "caller", "server_header", "server_429"]


@frozen
class LimitInForce:
    """A limit, and who stated it."""

    limit: RateLimit
    source: LimitSource
    """``server_429`` for the words of a 429, which name the window; ``server_header`` for a limit without one."""


class SlidingWindow:
    """State of one account's rate limit.

    Args:
        limit: The limit to start with.
        adaptive: Whether it is a default that the server may raise. A server may lower any limit.
        brisk: Whether short windows keep less distance, because the times of sending are upper bounds already.
    """

    def __init__(self, limit: RateLimit, *, adaptive: bool = False, brisk: bool = False) -> None:
        self._brisk = brisk
        self._stated = self._in_force = LimitInForce(limit, "default" if adaptive else "caller")
        self.log = SlidingLog(limit, brisk=brisk)
        """Log of the limit in force."""
        self._lasting = [] if adaptive else [limit]  # limits that stay in force beside a new one
        self._secondary: list[SlidingLog] = []  # of the lasting limits that the one in force does not imply
        self.queue = WaitQueue()
        self.pacer = Pacer(limit, brisk=brisk)
        self._largest_request = 1

    @property
    def limit(self) -> RateLimit:
        """The limit in force."""
        return self._in_force.limit

    @property
    def stated(self) -> RateLimit | None:
        """The limit that callers stated; ``None`` for a default."""
        return self._stated.limit if self._stated.source == "caller" else None

    @property
    def idle(self) -> bool:
        """Whether no permit waits and no request takes capacity."""
        return not self.queue and not any(self._logs())

    @property
    def largest_possible(self) -> int:
        """Most images that a request can ever be granted."""
        return min(log.limit.images for log in self._logs())

    def fits(self, weight: int) -> bool:
        """Return whether a request of so many images can ever be granted."""
        return weight <= self.largest_possible

    def enqueue(self, weight: int, tokens: int = 0, *, rejoin: Permit | None = None) -> Permit:
        """Add a request at the end of the queue, or at the place of an earlier permit."""
        self.note_weight(weight)
        return self.queue.push(weight, tokens, number=None if rejoin is None else rejoin.number)

    def grant_ready(self, now: float) -> tuple[list[Permit], float | None]:
        """Grant all permits that may be granted at ``now``. Return them, and when to ask again.

        That is ``None`` when only :meth:`sent`, :meth:`cancel` or a new permit can change anything.
        """
        granted: list[Permit] = []
        for log in self._logs():
            log.expire(now)
        self.pacer.renew(now)
        while (head := self.queue.head) is not None and now >= self.pacer.opens_at:
            if self._has_capacity(head):
                permit = head if all(log.has_capacity(head) for log in self._secondary) else None
            else:
                permit = self._backfill(head, now)
            if permit is None:
                break
            self._grant(permit, now)
            granted.append(permit)
        return granted, None if head is None else self._next_at(head, now)

    def expected_start(self, permit: Permit, now: float, before: tuple[int, int] | None = None) -> float:
        """Estimate when ``permit`` is granted, if those before it are sent as soon as they are granted.

        ``before`` is the number and the images of those before it, if it is not in the queue.
        """
        if before is None and not permit.waiting:
            return now
        begin = max(now, self.pacer.opens_at)
        if before is None and self._can_overtake(permit, begin):
            return begin
        before = self.queue.position(permit) if before is None else before
        paced = begin + before[1] * self.pacer.even_interval * self.pacer.pace
        return max(
            paced,
            self.log.expected_start(permit, before, begin, now, self._max_images(permit)),
            *(log.expected_start(permit, before, begin, now, log.limit.images) for log in self._secondary),
        )

    def sent(self, permit: Permit, now: float) -> None:
        """Start the window of a request, which was written to the connection as a whole."""
        if permit in self.log and permit.sent_at is None:
            permit.sent_at = now
            for log in self._logs():
                log.send(permit, now)
            self.pacer.sent(permit, now)

    def remember_all(self, sendings: Iterable[tuple[int, float]], now: float) -> None:
        """Count requests that other processes sent: their images, and when. Those of one moment count together."""
        longest = max(log.window_seconds for log in self._logs())
        moments: dict[int, tuple[int, float, int]] = {}
        for weight, sent_at in sendings:
            if now < sent_at + longest:
                moment = int((sent_at - now) / longest * MOMENTS)
                images, latest, requests = moments.get(moment, (0, sent_at, 0))
                moments[moment] = images + weight, max(latest, sent_at), requests + 1
        for images, sent_at, requests in sorted(moments.values(), key=itemgetter(1)):
            self.remember(images, sent_at, now, requests=requests)

    def remember(self, weight: int, sent_at: float, now: float, *, requests: int = 1) -> None:
        """Count requests that another process sent at one moment, unless their window has ended."""
        permit = Permit(weight, -1)
        permit.requests = requests
        self.restore(permit, sent_at, now)

    def restore(self, permit: Permit, sent_at: float, now: float) -> None:
        """Count a request that was sent under another window, unless its time has ended."""
        permit.granted, permit.sent_at = True, sent_at
        for log in self._logs():
            if now < sent_at + log.window_seconds:
                log.grant(permit)
                log.send(permit, sent_at)

    def cancel(self, permit: Permit) -> None:
        """Give up a place in the queue, or a granted permit whose request was not sent."""
        if permit.waiting:
            self.queue.remove(permit)
        elif permit.sent_at is None:
            self.discard(permit)

    def discard(self, permit: Permit) -> None:
        """Free the capacity of a request."""
        for log in self._logs():
            log.discard(permit)

    def inherit(self, now: float) -> None:
        """Start in a forked child: the waiting permits are the parent's, and its unsent requests count as sent."""
        self.queue.clear()
        for permit in self.log.unsent():
            self.sent(permit, now)

    def rejected(self, permit: Permit, now: float, stated: ServerLimits) -> None:
        """Handle a 429: return the permit to its place, pause everyone, and adopt what the server states.

        Requests that were sent before the pause began count as part of the same 429 and change nothing.
        """
        sent_at = now if permit.sent_at is None else permit.sent_at
        starts_pause = sent_at >= self.pacer.pause_ends
        self.discard(permit)
        permit.granted, permit.sent_at = False, None
        self.queue.push_back(permit)
        self.pacer.returned(permit)
        self._adopt(stated, rejected=True)
        if starts_pause:
            sent = tuple(
                SentRequest(each.sent_at, end, each.weight)
                for each, end in self.log.sent()
                if each.sent_at is not None
            )
            usage = WindowUsage(
                sent_at,
                has_capacity=self._has_capacity(permit),
                images=self.log.images,
                limit_is_stated="images" in stated.limits and self._in_force.source.startswith("server"),
                largest_request=self._largest_request,
                sent=sent,
            )
            self.pacer.rejected(permit, now, stated.waits, usage)

    def answered(self, permit: Permit, stated: ServerLimits, *, uncounted: bool) -> None:
        """Note that the server refused a request, though not for its limit. Free its capacity if it did not count.

        That is known where ``uncounted`` says so, or where the server counts fewer images than were sent before it.
        """
        remaining, limit = stated.remaining_images, stated.limits.get("images")
        if remaining is not None and limit is not None and permit.sent_at is not None:
            earlier = sum(
                each.weight for each, _ in self.log.sent() if (each.sent_at or 0.0) < permit.sent_at
            )
            uncounted = uncounted or limit.limit - remaining <= earlier
        if uncounted:
            self.discard(permit)

    def accepted(self, permit: Permit, stated: ServerLimits) -> None:
        """Note that the server accepted a request, and adopt the limits that it states."""
        self._adopt(stated, rejected=False)
        self.pacer.accepted(permit)

    def correct_tokens(self, permit: Permit, tokens: int) -> None:
        """Replace the estimated tokens of a request by those that the server counted."""
        logs = [log for log in self._logs() if permit in log]
        for log in logs:
            log.correct_tokens(permit, tokens)
        if logs:
            permit.tokens = tokens

    def restrict(self, limit: RateLimit) -> None:
        """Keep to another limit that a caller states: it replaces a default, and otherwise the lower one applies."""
        self._lasting.append(limit)
        stated, in_force = self._stated, self._in_force
        replaces = stated.source == "default" or _rate(limit) < _rate(stated.limit)
        lower = _with_lowest(limit if replaces else stated.limit, stated.limit, limit)
        self._stated = LimitInForce(lower, "caller")
        if in_force.source == "default" or _rate(limit) < _rate(in_force.limit):
            in_force = LimitInForce(limit, "caller")
        self._put_in_force(evolve(in_force, limit=_with_lowest(in_force.limit, self.limit, limit)))

    def dump(self, reference: Callable[[Permit], object]) -> dict[str, Any]:
        """Return the state without the queue as JSON values. ``reference`` returns the JSON value of a permit."""
        return {
            "stated": [_plain(self._stated.limit), self._stated.source],
            "in_force": [_plain(self._in_force.limit), self._in_force.source],
            "lasting": [_plain(limit) for limit in self._lasting],
            "logs": [
                [
                    _plain(log.limit),
                    log.window_seconds,
                    [[reference(permit), free_at] for permit, free_at in log.entries()],
                ]
                for log in self._logs()
            ],
            "pacer": self.pacer.dump(reference),
            "largest_request": self._largest_request,
            "brisk": self._brisk,
        }

    @classmethod
    def load(cls, state: dict[str, Any], permit_of: Callable[[Any], Permit]) -> SlidingWindow:
        """Return a window with the state of :meth:`dump`; ``permit_of`` returns the permit of a reference."""
        (stated, stated_by), (in_force, source) = state["stated"], state["in_force"]
        window = cls(RateLimit(*in_force), brisk=state["brisk"])
        window._stated = LimitInForce(RateLimit(*stated), stated_by)
        window._in_force = LimitInForce(RateLimit(*in_force), source)
        window._lasting = [RateLimit(*limit) for limit in state["lasting"]]
        window._largest_request = state["largest_request"]
        logs: list[SlidingLog] = []
        for limit, seconds, entries in state["logs"]:
            logs.append(SlidingLog(RateLimit(*limit), brisk=window._brisk))
            logs[-1].window_seconds = seconds
            for reference, free_at in entries:
                logs[-1].restore(permit_of(reference), free_at)
        window.log, *window._secondary = logs
        window.pacer.load(state["pacer"], permit_of)
        return window

    def renewed(self, limits: Iterable[RateLimit] = ()) -> SlidingWindow:
        """Return a window without requests that keeps to the same limits, or to others that callers state."""
        first, *others = limits or (self.limit,)
        window = SlidingWindow(first, brisk=self._brisk)
        for limit in others:
            window.restrict(limit)
        if not limits:
            window._stated, window._in_force, window._lasting = self._stated, self._in_force, [*self._lasting]
            window._put_in_force(self._in_force)
        window._largest_request = self._largest_request
        return window

    def hold(self, permit: Permit) -> None:
        """Take capacity for a request that was granted under another window."""
        permit.granted, permit.sent_at = True, None
        for log in self._logs():
            log.grant(permit)

    def counts(self, permit: Permit) -> bool:
        """Return whether a permit takes capacity."""
        return any(permit in log for log in self._logs())

    def note_weight(self, weight: int) -> None:
        """Note the images of a request that is going to wait."""
        self._largest_request = max(self._largest_request, weight)

    def _logs(self) -> tuple[SlidingLog, ...]:
        return (self.log, *self._secondary)

    def _grant(self, permit: Permit, now: float) -> None:
        self.queue.remove(permit)
        permit.granted, permit.sent_at = True, None
        permit.tokens = self.log.tokens_of(permit)
        for log in self._logs():
            log.grant(permit)
        self.pacer.granted(permit, now)

    def _has_capacity(self, permit: Permit, freed: Capacity = NO_CAPACITY) -> bool:
        return self.log.has_capacity(permit, freed, self._max_images(permit))

    def _max_images(self, permit: Permit) -> int:
        """Return the most images in a window that holds ``permit``."""
        most, pacer = self.limit.images, self.pacer
        if pacer.pace:
            # A server that counts evenly accepts a large request once those before it are worked off.
            return most + self._largest_request - 1
        return most if pacer.observed_quota is None else min(most, max(pacer.observed_quota, permit.weight))

    def _backfill(self, head: Permit, now: float) -> Permit | None:
        """Return a permit after the head that does not delay it, if there is one."""
        spare = self._spare_capacity(head, now)
        if spare is None:
            return None
        for permit in self.queue.after(head, BACKFILL_DEPTH):
            if self._has_capacity(permit) and self._has_capacity(permit, spare):
                return permit
        return None

    def _can_overtake(self, permit: Permit, now: float) -> bool:
        """Return whether ``permit`` would not delay the head, if none between them is granted."""
        head = self.queue.head
        if head is None or head is permit or not self._has_capacity(permit) or self._has_capacity(head):
            return False
        spare = self._spare_capacity(head, now)
        return spare is not None and self._has_capacity(permit, spare)

    def _spare_capacity(self, head: Permit, now: float) -> Capacity | None:
        """Return what is free beside the head when the head is granted; ``None`` if no permit may overtake it."""
        full = self.log.images >= self.limit.images
        if self.pacer.pace or self._secondary or len(self.queue) < 2 or full:
            return None
        starts = ((at, freed) for at, freed in self.log.freed() if self._has_capacity(head, freed))
        start, (images, requests, tokens) = next(starts, (-math.inf, NO_CAPACITY))
        if now + self.pacer.gap_after(head, now) > start:
            return None
        return Capacity(images - head.weight, requests - 1, tokens - self.log.tokens_of(head))

    def _next_at(self, head: Permit, now: float) -> float | None:
        opens_at = max(self.pacer.opens_at, *(log.opens_at(head, now) for log in self._secondary), now)
        if opens_at == math.inf:
            return None
        if self._has_capacity(head):
            return opens_at
        may_backfill = len(self.queue) > 1 and not self.pacer.pace
        if may_backfill and now < opens_at and self._backfill(head, opens_at) is not None:
            return opens_at
        frees = (at for at, freed in self.log.freed() if may_backfill or self._has_capacity(head, freed))
        first = next(frees, math.inf)  # a later permit may fit whenever capacity is freed
        if self.pacer.observed_quota is not None:
            first = min(first, self.pacer.quota_ends)
        return None if first == math.inf else max(first, opens_at)

    def _adopt(self, stated: ServerLimits, *, rejected: bool) -> None:
        for unit, found in stated.limits.items():
            if not found.limit:
                continue
            if unit == "images":
                self._adopt_images(found, explicit=stated.explicit, rejected=rejected)
            elif rejected and found.per in {None, self.limit.per}:
                ours: int | None = getattr(self._stated.limit, unit)
                most: dict[str, Any] = {unit: min(found.limit, ours or found.limit)}
                self._put_in_force(evolve(self._in_force, limit=evolve(self.limit, **most)))

    def _adopt_images(self, found: ServerLimit, *, explicit: bool, rejected: bool) -> None:
        """Adopt a lower limit that is explicit or part of a 429, and a higher one that is explicit."""
        ours, stated = self.limit, self._stated.limit
        per = found.per or min(ours.per, HEADER_WINDOW_SECONDS)
        limit = evolve(ours, images=found.limit, per=per)
        if _rate(limit) > _rate(ours):
            if not explicit:
                return
            if self._stated.source == "caller" and _rate(limit) >= _rate(stated):
                limit = evolve(ours, images=stated.images, per=stated.per)
        elif not explicit and not rejected:
            return
        elif limit.per > ours.per and limit.images > ours.images:
            self._lasting.append(ours)  # more could be sent at once otherwise
        self._put_in_force(LimitInForce(limit, "server_header" if found.per is None else "server_429"))

    def _put_in_force(self, in_force: LimitInForce) -> None:
        """Replace the limit in force; the lasting limits that it does not imply become secondary."""
        logs = {log.limit: log for log in self._secondary}
        longest = max(self._logs(), key=lambda log: log.window_seconds)
        for limit in self._lasting:
            if not _implies(in_force.limit, limit) and limit not in logs:
                logs[limit] = longest.counted_against(limit)
        self._secondary = [log for limit, log in logs.items() if not _implies(in_force.limit, limit)]
        if in_force.limit != self.limit:
            self.log.change_limit(in_force.limit, exact=in_force.source == "server_429")
        self._in_force = in_force
        self.pacer.change_limit(in_force.limit)


def _with_lowest(limit: RateLimit, *others: RateLimit) -> RateLimit:
    """Return ``limit`` with the lowest limits of requests and tokens that any limit of the same window has."""
    alike = [limit, *(each for each in others if each.per == limit.per)]
    return evolve(
        limit,
        requests=min((each.requests for each in alike if each.requests is not None), default=None),
        tokens=min((each.tokens for each in alike if each.tokens is not None), default=None),
    )


def _implies(limit: RateLimit, other: RateLimit) -> bool:
    """Return whether requests that keep to ``limit`` keep to ``other``, too."""
    pairs = ((limit.images, other.images), (limit.requests, other.requests), (limit.tokens, other.tokens))
    windows = other.per / limit.per
    return windows >= 1 and all(
        theirs is None or (ours is not None and ours * math.ceil(windows) <= theirs) for ours, theirs in pairs
    )


def _plain(limit: RateLimit) -> list[float | None]:
    return [limit.images, limit.per, limit.requests, limit.tokens]


def _rate(limit: RateLimit) -> float:
    return limit.images / limit.per
