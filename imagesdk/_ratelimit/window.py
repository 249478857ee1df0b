"""The rate limit as a state machine: a log of what was sent, and the line of those who wait.

A sliding log, weighted in images, is safe against every kind of server-side limit: fixed windows, sliding windows and
token buckets. An entry takes room from the moment it is granted and gives it back one window after it was *sent*.

The line is first come, first served. While its head waits for room, one behind it may go if it fits both now and beside
the head at the time the head will go (EASY backfilling: Lifka, 1995).

What the server says corrects us: which limit holds is learnt here, and what refusals teach about the distance between
requests in :mod:`imagesdk._ratelimit.pacing`. Times are seconds of any monotonic clock, always given by the caller.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from operator import itemgetter
from typing import NamedTuple

from attrs import evolve

from imagesdk._protocol.server_limits import LimitUnit, ServerLimit, ServerLimits
from imagesdk._ratelimit.pacing import Pacer
from imagesdk._ratelimit.queue import Permit, WaitQueue
from imagesdk._ratelimit.secondary import SecondaryLimits, window_seconds
from imagesdk.policies import RateLimit

_MINUTE = 60.0
_BACKFILL_DEPTH = 64
"""How far behind the head one is looked for that fits."""


class Capacity(NamedTuple):
    images: int = 0
    requests: int = 0
    tokens: int = 0


_NO_ROOM = Capacity()


class SlidingWindow:
    """The state of one limit.

    Args:
        limit: what the caller says it is.
        adaptive: whether the server may say that it is higher; it may always say that it is lower.
    """

    def __init__(self, limit: RateLimit, *, adaptive: bool = False) -> None:
        self._stated = limit
        self._adaptive = adaptive
        self._learned = False  # from the server
        self._queue = WaitQueue()
        self._unsent: set[Permit] = set()
        self._log: deque[tuple[float, Permit]] = (
            deque()
        )  # in the order of their ends, with some that have left
        self._ends: list[tuple[float, Capacity]] | None = None  # all that _freed yields, while it holds
        self._images = self._requests = self._tokens = 0  # what unsent and log take
        self._heaviest = 1
        self._pacer = Pacer()
        self._secondary = SecondaryLimits()
        if not adaptive:
            self._secondary.add(limit)
        self._set(limit)

    @property
    def gap(self) -> float:
        """Seconds between two grants of a burst: a wrong guess then costs few refusals."""
        return self._pacer.gap

    @property
    def paced(self) -> bool:
        """Whether requests are spaced out evenly."""
        return self._pacer.pace > 0

    @property
    def observed_quota(self) -> int | None:
        """The images in a window that a server that tells nothing seems to have for us, if that is known."""
        return self._pacer.observed_quota

    @property
    def pause_ends(self) -> float:
        """Until when nothing goes, because the server refused more."""
        return self._pacer.pause_ends

    @property
    def idle(self) -> bool:
        """Whether nobody waits and nothing takes room."""
        return not self._queue and not self._unsent and not self._images

    @property
    def stated(self) -> RateLimit | None:
        """The limit that a caller named; ``None`` while it was left open."""
        return None if self._adaptive else self._stated

    def fits(self, weight: int) -> bool:
        """Whether a request of this weight can ever be granted."""
        return weight <= self.limit.images and self._secondary.fits(weight)

    def enqueue(self, weight: int, tokens: int = 0, *, rejoin: Permit | None = None) -> Permit:
        """Take a place at the end of the line, or that of another permit, which has been given up."""
        self._heaviest = max(self._heaviest, weight)
        return self._queue.push(weight, tokens, number=None if rejoin is None else rejoin.number)

    def grant_ready(self, now: float) -> tuple[list[Permit], float | None]:
        """Grant all that may go at ``now``.

        Returns the permits granted, and when to poll again: ``None`` when only :meth:`sent`, :meth:`cancel`
        or a new permit can change anything.
        """
        granted: list[Permit] = []
        self._expire(now)
        pacer = self._pacer
        pacer.renew(now)
        while (head := self._queue.head) is not None and now >= pacer.opens_at:
            if self._has_capacity(head):
                permit = head if self._bounds_open_at(head, now) <= now else None
            else:
                permit = self._backfill(head, now)
            if permit is None:
                break
            self._grant(permit, now)
            granted.append(permit)
        return granted, None if head is None else self._next_at(head, now)

    def position(self, permit: Permit) -> int:
        """Return how many stand before ``permit``."""
        return self._queue.position(permit)[0]

    def expected_start(self, permit: Permit, now: float) -> float:
        """Return about when ``permit`` may go, if those before it are sent the moment they are granted."""
        if not permit.waiting:
            return now
        begin = max(now, self._pacer.opens_at)
        if self._can_overtake(permit, begin):
            return begin
        count, weight = self._queue.position(permit)
        start = begin + weight * self._pacer.even * self._pacer.pace
        if self._secondary:
            start = max(start, self._bounds_open_at(permit, now), begin + self._secondary.span(count, weight))
        limit = self.limit
        needed = weight + permit.weight
        start = max(start, self._end_of_nth("images", needed, self._images, self._most(permit), begin, now))
        if limit.requests is not None:
            start = max(
                start, self._end_of_nth("requests", count + 1, self._requests, limit.requests, begin, now)
            )
        if limit.tokens is not None:  # those before it are taken to ask for as many
            needed = (count + 1) * self._most_tokens(permit)
            start = max(start, self._end_of_nth("tokens", needed, self._tokens, limit.tokens, begin, now))
        return start

    def sent(self, permit: Permit, now: float) -> None:
        """Note that the request has been written out whole: its window begins now."""
        if permit in self._unsent:
            self._unsent.remove(permit)
            permit.sent_at = now
            self._enter_log(permit, now + self.window_seconds)
            self._secondary.sent(permit, now)
            self._pacer.sent(permit, now)

    def remember(self, weight: int, sent_at: float, now: float) -> None:
        """Count what another process sent, if its window has not ended."""
        if now < sent_at + self.window_seconds:
            permit = Permit(weight, -1)
            permit.granted, permit.sent_at = True, sent_at
            self._images += weight
            self._requests += 1
            self._enter_log(permit, sent_at + self.window_seconds)
            self._secondary.sent(permit, sent_at)

    def cancel(self, permit: Permit) -> None:
        """Give up a place in line, or a grant whose request was never sent."""
        if permit in self._unsent:
            self._leave_log(permit)
        else:
            self._queue.remove(permit)

    def inherit(self, now: float) -> None:
        """Begin in a forked child: those who wait are the parent's, and what it was about to send counts as sent."""
        self._queue.clear()
        for permit in list(self._unsent):
            self.sent(permit, now)

    def rejected(self, permit: Permit, now: float, said: ServerLimits) -> None:
        """Learn from an answer of 429: put the request back in line and pause everybody.

        Requests that were sent before the pause began belong to the same refusal and change nothing.
        """
        pacer = self._pacer
        fresh = (now if permit.sent_at is None else permit.sent_at) >= pacer.pause_ends
        self._leave_log(permit)
        permit.granted, permit.sent_at = False, None
        self._queue.push_back(permit)
        pacer.returned(permit)
        self._learn(said, refused=True)
        if fresh:
            pacer.refused(
                permit,
                now,
                said.waits,
                room=self._has_capacity(permit),
                heaviest=self._heaviest,
                taken=self._images,
                log=[(sent.sent_at, at) for at, sent in self._live() if sent.sent_at is not None],
            )

    def accepted(self, permit: Permit, said: ServerLimits) -> None:
        """Note that the server took a request."""
        if said.limits:
            self._learn(said, refused=False)
        self._pacer.accepted(permit)

    def correct_tokens(self, permit: Permit, tokens: int) -> None:
        """Correct the estimate of a request's tokens by what was counted."""
        if permit in self._unsent or permit.free_at is not None:
            self._tokens += tokens - permit.tokens
            permit.tokens = tokens

    def restrict(self, limit: RateLimit) -> None:
        """Take the lower one of two limits that callers state; the first that is stated replaces a default."""
        self._secondary.add(limit)
        unnamed = self._adaptive and not self._learned
        lower = self._adaptive or _rate(limit) < _rate(self._stated)
        self._stated = _beside(limit if lower else self._stated, self._stated, limit)
        self._adaptive = False
        holds = limit if unnamed or _rate(limit) < _rate(self.limit) else self.limit
        self._hold(_beside(holds, self.limit, limit))
        self._set(self.limit)  # which looks after the new one, too

    def _grant(self, permit: Permit, now: float) -> None:
        self._queue.remove(permit)
        permit.granted = True
        permit.tokens = self._most_tokens(permit)
        permit.sent_at = permit.free_at = None
        self._unsent.add(permit)
        self._images += permit.weight
        self._requests += 1
        self._tokens += permit.tokens
        self._pacer.granted(permit, now)

    def _has_capacity(self, permit: Permit, freed: Capacity = _NO_ROOM) -> bool:
        limit = self.limit
        return (
            self._images - freed.images + permit.weight <= self._most(permit)
            and (limit.requests is None or self._requests - freed.requests < limit.requests)
            and (
                limit.tokens is None
                or self._tokens - freed.tokens + self._most_tokens(permit) <= limit.tokens
            )
        )

    def _most(self, permit: Permit) -> int:
        """What the images in a window may come to with ``permit`` among them."""
        most, pacer = self.limit.images, self._pacer
        if pacer.pace:  # even servers let a large request in as soon as those before it are worked off
            return most + self._heaviest - 1
        return most if pacer.observed_quota is None else min(most, max(pacer.observed_quota, permit.weight))

    def _most_tokens(self, permit: Permit) -> int:
        """What a request takes of the tokens: never more than there are, for it would wait for ever."""
        return permit.tokens if self.limit.tokens is None else min(permit.tokens, self.limit.tokens)

    def _live(self) -> Iterator[tuple[float, Permit]]:
        """Yield the log without those that have left."""
        return (entry for entry in self._log if entry[1].free_at == entry[0])

    def _freed(self) -> Iterator[tuple[float, Capacity]]:
        """Yield the times at which room comes back, and how much has come back by then."""
        images = requests = tokens = 0
        for free_at, permit in self._live():
            images, requests, tokens = images + permit.weight, requests + 1, tokens + permit.tokens
            yield free_at, Capacity(images, requests, tokens)

    def _backfill(self, head: Permit, now: float) -> Permit | None:
        """Return one behind the head that does not delay it, if there is one."""
        beside = self._spare_capacity(head, now)
        if beside is None:
            return None
        for permit in self._queue.after(head, _BACKFILL_DEPTH):
            if self._has_capacity(permit) and self._has_capacity(permit, beside):
                return permit
        return None

    def _can_overtake(self, permit: Permit, now: float) -> bool:
        """Whether ``permit`` would not delay the head, if none between them goes."""
        head = self._queue.head
        if head is None or head is permit or not self._has_capacity(permit) or self._has_capacity(head):
            return False
        beside = self._spare_capacity(head, now)
        return beside is not None and self._has_capacity(permit, beside)

    def _spare_capacity(self, head: Permit, now: float) -> Capacity | None:
        """Return what will have come back when the head goes, without what it takes; ``None`` if nobody may pass."""
        if self._pacer.pace or self._secondary or len(self._queue) < 2 or self._images >= self.limit.images:
            return None
        shadow = next(((at, freed) for at, freed in self._freed() if self._has_capacity(head, freed)), None)
        if shadow is None or now + self._pacer.interval(head, now) > shadow[0]:
            return None
        images, requests, tokens = shadow[1]
        return Capacity(images - head.weight, requests - 1, tokens - self._most_tokens(head))

    def _next_at(self, head: Permit, now: float) -> float | None:
        opens_at = max(self._pacer.opens_at, self._bounds_open_at(head, now))
        if opens_at == math.inf:
            return None
        if self._has_capacity(head):
            return max(now, opens_at)
        several = len(self._queue) > 1 and not self._pacer.pace
        if several and now < opens_at and self._backfill(head, opens_at) is not None:
            return opens_at
        frees = (at for at, freed in self._freed() if several or self._has_capacity(head, freed))
        first = next(frees, None)  # whenever room comes back, one behind may fit
        if self._pacer.observed_quota is not None:
            first = self._pacer.quota_until if first is None else min(first, self._pacer.quota_until)
        return None if first is None else max(first, opens_at)

    def _bounds_open_at(self, permit: Permit, now: float) -> float:
        return self._secondary.opens_at(permit, self._unsent, now) if self._secondary else now

    def _end_of_nth(
        self, counted: LimitUnit, needed: int, used: int, most: int, begin: float, now: float
    ) -> float:
        """Return when the last of so many images (requests, tokens) could go, from the first not granted yet."""
        over = needed - (most - used)
        if over <= 0:
            return begin
        rounds, rest = divmod(over - 1, most)
        if self._ends is None:
            self._ends = list(self._freed())
        at = bisect_right(self._ends, rest, key=lambda end: getattr(end[1], counted))
        # Room that is taken by none in the log ends one window after it is.
        unsent = (now if rest < used else begin) + self.window_seconds
        ends = self._ends[at][0] if at < len(self._ends) else unsent
        return max(begin, ends) + rounds * self.window_seconds

    def _learn(self, said: ServerLimits, *, refused: bool) -> None:
        for counted, found in said.limits.items():
            if not found.limit:
                continue
            if counted == "images":
                self._learn_images(found, explicit=said.explicit, refused=refused)
            elif refused and found.per in {None, self.limit.per}:
                ours: int | None = getattr(self._stated, counted)
                most = found.limit if ours is None else min(ours, found.limit)
                holds = (
                    evolve(self.limit, requests=most)
                    if counted == "requests"
                    else evolve(self.limit, tokens=most)
                )
                self._hold(holds)

    def _learn_images(self, found: ServerLimit, *, explicit: bool, refused: bool) -> None:
        # Headers name no window; the API's own is a minute, and scaled ones are shorter.
        said = evolve(self.limit, images=found.limit, per=found.per or min(self.limit.per, _MINUTE))
        if _rate(said) > _rate(self.limit):
            if not explicit:
                return
            if not self._adaptive and _rate(said) >= _rate(self._stated):
                said = evolve(self.limit, images=self._stated.images, per=self._stated.per)
        elif not explicit and not refused:
            return
        elif said.per > self.limit.per and said.images > self.limit.images:
            self._secondary.add(self.limit)  # so many could go at once otherwise
        self._learned = True
        self._hold(said, truly=found.per is not None)

    def _hold(self, limit: RateLimit, *, truly: bool = False) -> None:
        """Go by another limit from now on; ``truly`` where its window is known to be that of the server."""
        if limit == self.limit:
            return
        longer = limit.per > self.limit.per
        self._set(limit)
        if longer or truly:  # else a shorter window is for those to come
            live = [permit for _, permit in self._live()]
            self._log.clear()
            for permit in live:
                assert permit.sent_at is not None  # noqa: S101 - it is in the log
                ends = permit.sent_at + self.window_seconds
                self._enter_log(permit, ends if truly else max(permit.free_at or ends, ends))

    def _set(self, limit: RateLimit) -> None:
        self.limit = limit
        """What holds now."""
        self.window_seconds = window_seconds(limit)
        """Seconds from a request's sending until its room is free again."""
        self._pacer.hold(limit)
        self._secondary.set_primary(limit, (permit for _, permit in self._live()))

    def _enter_log(self, permit: Permit, free_at: float) -> None:
        permit.free_at = free_at
        self._ends = None
        self._log.append((free_at, permit))
        if len(self._log) > 1 and self._log[-2][0] > free_at:  # after a change of the window
            self._log = deque(sorted(self._log, key=itemgetter(0)))

    def _leave_log(self, permit: Permit) -> None:
        if permit in self._unsent:
            self._unsent.remove(permit)
        elif permit.free_at is None:
            return
        permit.free_at = self._ends = None
        self._images -= permit.weight
        self._requests -= 1
        self._tokens -= permit.tokens

    def _expire(self, now: float) -> None:
        log = self._log
        while log and (log[0][0] <= now or log[0][1].free_at != log[0][0]):
            free_at, permit = log.popleft()
            if permit.free_at == free_at:
                self._leave_log(permit)


def _beside(limit: RateLimit, *others: RateLimit) -> RateLimit:
    """Return ``limit`` with the lowest limits of requests and tokens that it or any other of its window has."""
    alike = [limit, *(each for each in others if each.per == limit.per)]
    return evolve(
        limit,
        requests=min((each.requests for each in alike if each.requests is not None), default=None),
        tokens=min((each.tokens for each in alike if each.tokens is not None), default=None),
    )


def _rate(limit: RateLimit) -> float:
    return limit.images / limit.per
