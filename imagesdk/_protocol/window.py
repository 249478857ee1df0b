"""The rate limit as a state machine: a log of what was sent, and the line of those who wait.

A sliding log, weighted in images, is safe against every kind of server-side limit: fixed windows, sliding windows and
token buckets. An entry takes room from the moment it is granted and gives it back one window after it was *sent*.

The line is first come, first served. While its head waits for room, one behind it may go if it fits both now and beside
the head at the time the head will go (EASY backfilling: Lifka, 1995).

What the server says corrects us. A refusal pauses everybody, once for all that were sent before it. A server that
refuses with a short wait though the log has room counts evenly rather than in windows: from then on requests are
spaced out, until a window without refusals suggests to try a burst again. Times are seconds of any monotonic clock,
always given by the caller.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from operator import itemgetter

from attrs import evolve

from imagesdk._protocol.limits import SaidLimit, SaidLimits
from imagesdk._protocol.line import Line, Ticket
from imagesdk.policies import RateLimit

_MINUTE = 60.0
_MARGIN = 1.005
"""Our window is this many times the server's, for clocks that differ a little."""
_TRAVEL = 0.05
"""Seconds on top: the server counts a request when it has arrived, we when it has left."""
_BACKFILL_DEPTH = 64
"""How far behind the head one is looked for that fits."""
_PACE, _SLOWEST_PACE = 1.03, 8.0
"""Times the even interval between images that spaced-out requests keep, at least and at most."""
_PACE_UP, _PACE_UP_SOON, _PACE_DOWN = 1.08, 1.3, 0.99
_WARY = 4
"""Times the usual gap that a burst keeps for a while after a refusal."""
_SHORT = 1.5
"""A wait of so many times what the heaviest request would take of an even limit is a short one."""


class RateWindow:
    """The state of one limit.

    Args:
        limit: what the caller says it is.
        adaptive: whether the server may say that it is higher; it may always say that it is lower.
    """

    def __init__(self, limit: RateLimit, *, adaptive: bool = False) -> None:
        self.limit = limit
        """What holds now."""
        self._stated = limit
        self._adaptive = adaptive
        self._learned = False  # from the server
        self._line = Line()
        self._unsent: set[Ticket] = set()
        self._log: deque[tuple[float, Ticket]] = (
            deque()
        )  # in the order of their ends, with some that have left
        self._images = self._requests = self._tokens = 0  # what unsent and log take
        self._spaced_until = -math.inf
        self._spaced_by: Ticket | None = None
        self._wary_until = -math.inf
        self._intervals: list[float] = []  # those after the next grants; then the usual one
        self.pause_ends = -math.inf
        """Until when nothing goes, because the server refused more."""
        self._refused_at = -math.inf
        self._pauses = 0
        self._pace = 0.0  # 0: bursts
        self._paced_until = -math.inf
        self._strikes = 0
        self._heaviest = 1

    @property
    def gap(self) -> float:
        """Seconds between two grants of a burst: a wrong guess then costs few refusals."""
        return min(self.limit.per / 1200, self.limit.per / (4 * self.limit.images))

    @property
    def span(self) -> float:
        """Seconds from a request's sending until its room is free again."""
        return self.limit.per * _MARGIN + _TRAVEL

    @property
    def paced(self) -> bool:
        """Whether requests are spaced out evenly."""
        return self._pace > 0

    @property
    def idle(self) -> bool:
        """Whether nobody waits and nothing takes room."""
        return not self._line and not self._unsent and not self._images

    @property
    def stated(self) -> RateLimit | None:
        """The limit that a caller named; ``None`` while it was left open."""
        return None if self._adaptive else self._stated

    def fits(self, weight: int) -> bool:
        """Whether a request of this weight can ever be granted."""
        return weight <= self.limit.images

    def enqueue(self, weight: int, tokens: int = 0) -> Ticket:
        """Take a place at the end of the line."""
        self._heaviest = max(self._heaviest, weight)
        return self._line.join(weight, tokens)

    def poll(self, now: float) -> tuple[list[Ticket], float | None]:
        """Grant all that may go at ``now``.

        Returns the tickets granted, and when to poll again: ``None`` when only :meth:`sent`, :meth:`cancel`
        or a new ticket can change anything.
        """
        granted: list[Ticket] = []
        self._expire(now)
        if self._pace and now >= self._paced_until:
            self._pace = 0.0
            self._intervals = [self.gap, self._probe]  # two at once tell whether bursts are taken again
        while now >= self._not_before and (head := self._line.head) is not None:
            ticket = head if self._has_room(head) else self._backfill(head, now)
            if ticket is None:
                break
            self._grant(ticket, now)
            granted.append(ticket)
        return granted, self._next_at(now)

    def place(self, ticket: Ticket) -> int:
        """Return how many stand before ``ticket``."""
        return self._line.ahead(ticket)[0]

    def expected_start(self, ticket: Ticket, now: float) -> float:
        """Return about when ``ticket`` may go, if those before it are sent the moment they are granted."""
        begin = max(now, self._not_before)
        if not ticket.waiting:
            return now
        count, weight = self._line.ahead(ticket)
        start = begin
        if self._pace:
            start += weight * self._even * self._pace
        limit = self.limit
        start = max(
            start, self._end_of_nth(0, weight + ticket.weight, self._images, limit.images, begin, now)
        )
        if limit.requests is not None:
            start = max(start, self._end_of_nth(1, count + 1, self._requests, limit.requests, begin, now))
        return start

    def sent(self, ticket: Ticket, now: float) -> None:
        """Note that the request has been written out whole: its window begins now."""
        if ticket in self._unsent:
            self._unsent.remove(ticket)
            ticket.sent_at = now
            self._enter_log(ticket, now + self.span)
            if self._pace and ticket is self._spaced_by:
                # Even servers count from arrival, which a new connection delays.
                self._spaced_until = now + self._pace * self._even * ticket.weight

    def remember(self, weight: int, sent_at: float, now: float) -> None:
        """Count what another process sent, if its window has not ended."""
        if now < sent_at + self.span:
            ticket = Ticket(weight, -1)
            ticket.granted, ticket.sent_at = True, sent_at
            self._images += weight
            self._requests += 1
            self._enter_log(ticket, sent_at + self.span)

    def cancel(self, ticket: Ticket) -> None:
        """Give up a place in line, or a grant whose request was never sent."""
        if ticket in self._unsent:
            self._leave_log(ticket)
        else:
            self._line.leave(ticket)

    def inherit(self, now: float) -> None:
        """Begin in a forked child: those who wait are the parent's, and what it was about to send counts as sent."""
        self._line.clear()
        for ticket in list(self._unsent):
            self.sent(ticket, now)

    def throttled(self, ticket: Ticket, now: float, said: SaidLimits) -> None:
        """Learn from an answer of 429: put the request back in line and pause everybody.

        Requests that were sent before the pause began belong to the same refusal and change nothing.
        """
        fresh = (now if ticket.sent_at is None else ticket.sent_at) >= self.pause_ends
        self._leave_log(ticket)
        ticket.granted = False
        self._line.rejoin(ticket)
        if ticket is self._spaced_by:
            self._spaced_until, self._spaced_by = -math.inf, None
        self._learn(said, refused=True)
        if not fresh:
            return
        self._pauses += 1
        per = self.limit.per
        wait = next((seconds for seconds in said.waits if 0 < seconds <= 2 * per), None)
        backoff = min(per, per / 60 * 3 ** min(self._pauses - 1, 6))
        pause = backoff if wait is None else max(wait, backoff if self._pauses > 1 else 0.0)
        self._space_out(ticket, wait, now, pause)
        self.pause_ends = max(self.pause_ends, now + pause)
        self._refused_at = now
        self._wary_until = now + 2 * per
        self._intervals = [self._probe, self.gap, self._probe]  # one alone, and then two at once, tell most

    def proven(self, ticket: Ticket, said: SaidLimits) -> None:
        """Note that the server took a request."""
        self._learn(said, refused=False)
        if ticket.sent_at is not None and ticket.sent_at >= self.pause_ends:
            self._pauses = 0
        if self._pace:
            self._pace = max(_PACE, self._pace * _PACE_DOWN**ticket.weight)

    def settle(self, ticket: Ticket, tokens: int) -> None:
        """Correct the estimate of a request's tokens by what was counted."""
        if ticket in self._unsent or ticket.free_at is not None:
            self._tokens += tokens - ticket.tokens
            ticket.tokens = tokens

    def restrict(self, limit: RateLimit) -> None:
        """Take the lower one of two limits that callers state; the first that is stated replaces a default."""
        unnamed = self._adaptive and not self._learned
        lower = self._adaptive or _rate(limit) < _rate(self._stated)
        self._stated = _beside(limit if lower else self._stated, self._stated, limit)
        self._adaptive = False
        holds = limit if unnamed or _rate(limit) < _rate(self.limit) else self.limit
        self._hold(_beside(holds, self.limit, limit))

    @property
    def _not_before(self) -> float:
        return max(self._spaced_until, self.pause_ends)

    @property
    def _even(self) -> float:
        return self.limit.per / self.limit.images

    @property
    def _probe(self) -> float:
        return max(self.gap, self.limit.per / 60)

    def _grant(self, ticket: Ticket, now: float) -> None:
        self._line.leave(ticket)
        ticket.granted = True
        ticket.tokens = self._most_tokens(ticket)
        ticket.sent_at = ticket.free_at = None
        self._unsent.add(ticket)
        self._images += ticket.weight
        self._requests += 1
        self._tokens += ticket.tokens
        self._spaced_until = now + self._interval(ticket, now)
        self._spaced_by = ticket
        del self._intervals[:1]

    def _interval(self, ticket: Ticket, now: float) -> float:
        """Return the seconds that nobody goes after ``ticket``."""
        if self._pace:
            usual = self._pace * self._even * ticket.weight
        else:
            usual = self.gap * (_WARY if now < self._wary_until else 1)
        return max(usual, *self._intervals[:1], 0.0)

    def _has_room(self, ticket: Ticket, freed: tuple[int, int, int] = (0, 0, 0)) -> bool:
        limit = self.limit
        images, requests, tokens = freed
        # Even servers let a large request in as soon as those before it are worked off.
        beyond = self._heaviest - 1 if self._pace else 0
        return (
            self._images - images + ticket.weight <= limit.images + beyond
            and (limit.requests is None or self._requests - requests < limit.requests)
            and (limit.tokens is None or self._tokens - tokens + self._most_tokens(ticket) <= limit.tokens)
        )

    def _most_tokens(self, ticket: Ticket) -> int:
        """What a request takes of the tokens: never more than there are, for it would wait for ever."""
        return ticket.tokens if self.limit.tokens is None else min(ticket.tokens, self.limit.tokens)

    def _freed(self) -> Iterator[tuple[float, tuple[int, int, int]]]:
        """Yield the times at which room comes back, and how much has come back by then."""
        images = requests = tokens = 0
        for free_at, ticket in self._log:
            if ticket.free_at == free_at:
                images, requests, tokens = images + ticket.weight, requests + 1, tokens + ticket.tokens
                yield free_at, (images, requests, tokens)

    def _backfill(self, head: Ticket, now: float) -> Ticket | None:
        """Return one behind the head that does not delay it, if there is one."""
        if self._pace or len(self._line) < 2:
            return None
        shadow = next(((at, freed) for at, freed in self._freed() if self._has_room(head, freed)), None)
        if shadow is None or now + self._interval(head, now) > shadow[0]:
            return None
        images, requests, tokens = shadow[1]
        beside = (images - head.weight, requests - 1, tokens - self._most_tokens(head))
        for ticket in self._line.behind(head, _BACKFILL_DEPTH):
            if self._has_room(ticket) and self._has_room(ticket, beside):
                return ticket
        return None

    def _next_at(self, now: float) -> float | None:
        head = self._line.head
        if head is None:
            return None
        if self._has_room(head):
            return max(now, self._not_before)
        several = len(self._line) > 1 and not self._pace
        for at, freed in self._freed():
            if several or self._has_room(head, freed):  # whenever room comes back, one behind may fit
                return max(at, self._not_before)
        return None

    def _end_of_nth(self, counted: int, needed: int, used: int, most: int, begin: float, now: float) -> float:
        """Return when the last of so many images (or requests) could go, from the first that is not granted yet."""
        over = needed - (most - used)
        if over <= 0:
            return begin
        rounds, rest = divmod(over - 1, most)
        ends = next((at for at, freed in self._freed() if freed[counted] > rest), None)
        if ends is None:  # room that is taken by none in the log ends one window after it is
            ends = (now if rest < used else begin) + self.span
        return max(begin, ends) + rounds * self.span

    def _space_out(self, ticket: Ticket, wait: float | None, now: float, pause: float) -> None:
        if self._pace:
            soon = now - self._refused_at < self.limit.per / 4  # somebody else may use the limit, too
            self._pace = min(_SLOWEST_PACE, self._pace * (_PACE_UP_SOON if soon else _PACE_UP))
        elif self._has_room(ticket) and (
            now - self._refused_at < self.limit.per
            if wait is None
            else wait <= _SHORT * self._heaviest * self._even + self.limit.per / 30  # seconds are rounded up
        ):
            self._pace = _PACE
            self._strikes += 1
        if self._pace:
            self._paced_until = now + pause + self.limit.per * 4 ** min(self._strikes - 1, 10)

    def _learn(self, said: SaidLimits, *, refused: bool) -> None:
        for counted, found in said.limits.items():
            if not found.limit:
                continue
            if counted == "images":
                self._learn_images(found, surely=said.surely, refused=refused)
            elif refused and found.per in {None, self.limit.per}:
                ours: int | None = getattr(self._stated, counted)
                most = found.limit if ours is None else min(ours, found.limit)
                holds = (
                    evolve(self.limit, requests=most)
                    if counted == "requests"
                    else evolve(self.limit, tokens=most)
                )
                self._hold(holds)

    def _learn_images(self, found: SaidLimit, *, surely: bool, refused: bool) -> None:
        # Headers name no window; the API's own is a minute, and scaled ones are shorter.
        said = evolve(self.limit, images=found.limit, per=found.per or min(self.limit.per, _MINUTE))
        if said.per > self.limit.per and said.images > self.limit.images:
            return  # so many could go at once then; refusals will slow us down in its stead
        if _rate(said) > _rate(self.limit):
            if not surely:
                return
            if not self._adaptive and _rate(said) >= _rate(self._stated):
                said = evolve(self.limit, images=self._stated.images, per=self._stated.per)
        elif not surely and not refused:
            return
        self._learned = True
        self._hold(said)

    def _hold(self, limit: RateLimit) -> None:
        if limit == self.limit:
            return
        longer = limit.per > self.limit.per
        self.limit = limit
        if longer:  # a shorter window is for those to come
            live = [ticket for free_at, ticket in self._log if ticket.free_at == free_at]
            self._log.clear()
            for ticket in live:
                assert ticket.sent_at is not None  # noqa: S101 - it is in the log
                self._enter_log(ticket, max(ticket.free_at or 0.0, ticket.sent_at + self.span))

    def _enter_log(self, ticket: Ticket, free_at: float) -> None:
        ticket.free_at = free_at
        self._log.append((free_at, ticket))
        if len(self._log) > 1 and self._log[-2][0] > free_at:  # after a change of the window
            self._log = deque(sorted(self._log, key=itemgetter(0)))

    def _leave_log(self, ticket: Ticket) -> None:
        if ticket in self._unsent:
            self._unsent.remove(ticket)
        elif ticket.free_at is None:
            return
        ticket.free_at = None
        self._images -= ticket.weight
        self._requests -= 1
        self._tokens -= ticket.tokens

    def _expire(self, now: float) -> None:
        log = self._log
        while log and (log[0][0] <= now or log[0][1].free_at != log[0][0]):
            free_at, ticket = log.popleft()
            if ticket.free_at == free_at:
                self._leave_log(ticket)


def _beside(limit: RateLimit, *others: RateLimit) -> RateLimit:
    """Return ``limit`` with the lowest limits of requests and tokens that any of the others has."""
    return evolve(
        limit,
        requests=min((each.requests for each in others if each.requests is not None), default=None),
        tokens=min((each.tokens for each in others if each.tokens is not None), default=None),
    )


def _rate(limit: RateLimit) -> float:
    return limit.images / limit.per
