"""The rate limit as a state machine: a log of what was sent, and the line of those who wait.

A sliding log, weighted in images, is safe against every kind of server-side limit: fixed windows, sliding windows and
token buckets. An entry takes room from the moment it is granted and gives it back one window after it was *sent*.

The line is first come, first served. While its head waits for room, one behind it may go if it fits both now and beside
the head at the time the head will go (EASY backfilling: Lifka, 1995).

What the server says corrects us: which limit holds is learnt here, and what refusals teach about the distance between
requests in :mod:`imagesdk._protocol.spacing`. Times are seconds of any monotonic clock, always given by the caller.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from operator import itemgetter
from typing import NamedTuple

from attrs import evolve

from imagesdk._protocol.bounds import Bounds, span_of
from imagesdk._protocol.limits import Counted, SaidLimit, SaidLimits
from imagesdk._protocol.line import Line, Ticket
from imagesdk._protocol.spacing import Spacing
from imagesdk.policies import RateLimit

_MINUTE = 60.0
_BACKFILL_DEPTH = 64
"""How far behind the head one is looked for that fits."""


class _Room(NamedTuple):
    images: int = 0
    requests: int = 0
    tokens: int = 0


_NO_ROOM = _Room()


class RateWindow:
    """The state of one limit.

    Args:
        limit: what the caller says it is.
        adaptive: whether the server may say that it is higher; it may always say that it is lower.
    """

    def __init__(self, limit: RateLimit, *, adaptive: bool = False) -> None:
        self._stated = limit
        self._adaptive = adaptive
        self._learned = False  # from the server
        self._line = Line()
        self._unsent: set[Ticket] = set()
        self._log: deque[tuple[float, Ticket]] = (
            deque()
        )  # in the order of their ends, with some that have left
        self._ends: list[tuple[float, _Room]] | None = None  # all that _freed yields, while it holds
        self._images = self._requests = self._tokens = 0  # what unsent and log take
        self._heaviest = 1
        self._spacing = Spacing()
        self._bounds = Bounds()
        if not adaptive:
            self._bounds.add(limit)
        self._set(limit)

    @property
    def gap(self) -> float:
        """Seconds between two grants of a burst: a wrong guess then costs few refusals."""
        return self._spacing.gap

    @property
    def paced(self) -> bool:
        """Whether requests are spaced out evenly."""
        return self._spacing.pace > 0

    @property
    def share(self) -> int | None:
        """The images in a window that a server that tells nothing seems to have for us, if that is known."""
        return self._spacing.share

    @property
    def pause_ends(self) -> float:
        """Until when nothing goes, because the server refused more."""
        return self._spacing.pause_ends

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
        return weight <= self.limit.images and self._bounds.fits(weight)

    def enqueue(self, weight: int, tokens: int = 0, *, place_of: Ticket | None = None) -> Ticket:
        """Take a place at the end of the line, or that of another ticket, which has been given up."""
        self._heaviest = max(self._heaviest, weight)
        return self._line.join(weight, tokens, number=None if place_of is None else place_of.number)

    def poll(self, now: float) -> tuple[list[Ticket], float | None]:
        """Grant all that may go at ``now``.

        Returns the tickets granted, and when to poll again: ``None`` when only :meth:`sent`, :meth:`cancel`
        or a new ticket can change anything.
        """
        granted: list[Ticket] = []
        self._expire(now)
        spacing = self._spacing
        spacing.renew(now)
        while (head := self._line.head) is not None and now >= spacing.opens_at:
            if self._has_room(head):
                ticket = head if self._bounds_open_at(head, now) <= now else None
            else:
                ticket = self._backfill(head, now)
            if ticket is None:
                break
            self._grant(ticket, now)
            granted.append(ticket)
        return granted, None if head is None else self._next_at(head, now)

    def place(self, ticket: Ticket) -> int:
        """Return how many stand before ``ticket``."""
        return self._line.ahead(ticket)[0]

    def expected_start(self, ticket: Ticket, now: float) -> float:
        """Return about when ``ticket`` may go, if those before it are sent the moment they are granted."""
        if not ticket.waiting:
            return now
        begin = max(now, self._spacing.opens_at)
        if self._may_pass(ticket, begin):
            return begin
        count, weight = self._line.ahead(ticket)
        start = begin + weight * self._spacing.even * self._spacing.pace
        if self._bounds:
            start = max(start, self._bounds_open_at(ticket, now), begin + self._bounds.span(count, weight))
        limit = self.limit
        needed = weight + ticket.weight
        start = max(start, self._end_of_nth("images", needed, self._images, self._most(ticket), begin, now))
        if limit.requests is not None:
            start = max(
                start, self._end_of_nth("requests", count + 1, self._requests, limit.requests, begin, now)
            )
        if limit.tokens is not None:  # those before it are taken to ask for as many
            needed = (count + 1) * self._most_tokens(ticket)
            start = max(start, self._end_of_nth("tokens", needed, self._tokens, limit.tokens, begin, now))
        return start

    def sent(self, ticket: Ticket, now: float) -> None:
        """Note that the request has been written out whole: its window begins now."""
        if ticket in self._unsent:
            self._unsent.remove(ticket)
            ticket.sent_at = now
            self._enter_log(ticket, now + self.span)
            self._bounds.sent(ticket, now)
            self._spacing.sent(ticket, now)

    def remember(self, weight: int, sent_at: float, now: float) -> None:
        """Count what another process sent, if its window has not ended."""
        if now < sent_at + self.span:
            ticket = Ticket(weight, -1)
            ticket.granted, ticket.sent_at = True, sent_at
            self._images += weight
            self._requests += 1
            self._enter_log(ticket, sent_at + self.span)
            self._bounds.sent(ticket, sent_at)

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
        spacing = self._spacing
        fresh = (now if ticket.sent_at is None else ticket.sent_at) >= spacing.pause_ends
        self._leave_log(ticket)
        ticket.granted, ticket.sent_at = False, None
        self._line.rejoin(ticket)
        spacing.returned(ticket)
        self._learn(said, refused=True)
        if fresh:
            spacing.refused(
                ticket,
                now,
                said.waits,
                room=self._has_room(ticket),
                heaviest=self._heaviest,
                taken=self._images,
                log=[(sent.sent_at, at) for at, sent in self._live() if sent.sent_at is not None],
            )

    def proven(self, ticket: Ticket, said: SaidLimits) -> None:
        """Note that the server took a request."""
        if said.limits:
            self._learn(said, refused=False)
        self._spacing.proven(ticket)

    def settle(self, ticket: Ticket, tokens: int) -> None:
        """Correct the estimate of a request's tokens by what was counted."""
        if ticket in self._unsent or ticket.free_at is not None:
            self._tokens += tokens - ticket.tokens
            ticket.tokens = tokens

    def restrict(self, limit: RateLimit) -> None:
        """Take the lower one of two limits that callers state; the first that is stated replaces a default."""
        self._bounds.add(limit)
        unnamed = self._adaptive and not self._learned
        lower = self._adaptive or _rate(limit) < _rate(self._stated)
        self._stated = _beside(limit if lower else self._stated, self._stated, limit)
        self._adaptive = False
        holds = limit if unnamed or _rate(limit) < _rate(self.limit) else self.limit
        self._hold(_beside(holds, self.limit, limit))
        self._set(self.limit)  # which looks after the new one, too

    def _grant(self, ticket: Ticket, now: float) -> None:
        self._line.leave(ticket)
        ticket.granted = True
        ticket.tokens = self._most_tokens(ticket)
        ticket.sent_at = ticket.free_at = None
        self._unsent.add(ticket)
        self._images += ticket.weight
        self._requests += 1
        self._tokens += ticket.tokens
        self._spacing.granted(ticket, now)

    def _has_room(self, ticket: Ticket, freed: _Room = _NO_ROOM) -> bool:
        limit = self.limit
        return (
            self._images - freed.images + ticket.weight <= self._most(ticket)
            and (limit.requests is None or self._requests - freed.requests < limit.requests)
            and (
                limit.tokens is None
                or self._tokens - freed.tokens + self._most_tokens(ticket) <= limit.tokens
            )
        )

    def _most(self, ticket: Ticket) -> int:
        """What the images in a window may come to with ``ticket`` among them."""
        most, spacing = self.limit.images, self._spacing
        if spacing.pace:  # even servers let a large request in as soon as those before it are worked off
            return most + self._heaviest - 1
        return most if spacing.share is None else min(most, max(spacing.share, ticket.weight))

    def _most_tokens(self, ticket: Ticket) -> int:
        """What a request takes of the tokens: never more than there are, for it would wait for ever."""
        return ticket.tokens if self.limit.tokens is None else min(ticket.tokens, self.limit.tokens)

    def _live(self) -> Iterator[tuple[float, Ticket]]:
        """Yield the log without those that have left."""
        return (entry for entry in self._log if entry[1].free_at == entry[0])

    def _freed(self) -> Iterator[tuple[float, _Room]]:
        """Yield the times at which room comes back, and how much has come back by then."""
        images = requests = tokens = 0
        for free_at, ticket in self._live():
            images, requests, tokens = images + ticket.weight, requests + 1, tokens + ticket.tokens
            yield free_at, _Room(images, requests, tokens)

    def _backfill(self, head: Ticket, now: float) -> Ticket | None:
        """Return one behind the head that does not delay it, if there is one."""
        beside = self._room_beside(head, now)
        if beside is None:
            return None
        for ticket in self._line.behind(head, _BACKFILL_DEPTH):
            if self._has_room(ticket) and self._has_room(ticket, beside):
                return ticket
        return None

    def _may_pass(self, ticket: Ticket, now: float) -> bool:
        """Whether ``ticket`` would not delay the head, if none between them goes."""
        head = self._line.head
        if head is None or head is ticket or not self._has_room(ticket) or self._has_room(head):
            return False
        beside = self._room_beside(head, now)
        return beside is not None and self._has_room(ticket, beside)

    def _room_beside(self, head: Ticket, now: float) -> _Room | None:
        """Return what will have come back when the head goes, without what it takes; ``None`` if nobody may pass."""
        if self._spacing.pace or self._bounds or len(self._line) < 2 or self._images >= self.limit.images:
            return None
        shadow = next(((at, freed) for at, freed in self._freed() if self._has_room(head, freed)), None)
        if shadow is None or now + self._spacing.interval(head, now) > shadow[0]:
            return None
        images, requests, tokens = shadow[1]
        return _Room(images - head.weight, requests - 1, tokens - self._most_tokens(head))

    def _next_at(self, head: Ticket, now: float) -> float | None:
        opens_at = max(self._spacing.opens_at, self._bounds_open_at(head, now))
        if opens_at == math.inf:
            return None
        if self._has_room(head):
            return max(now, opens_at)
        several = len(self._line) > 1 and not self._spacing.pace
        if several and now < opens_at and self._backfill(head, opens_at) is not None:
            return opens_at
        frees = (at for at, freed in self._freed() if several or self._has_room(head, freed))
        first = next(frees, None)  # whenever room comes back, one behind may fit
        if self._spacing.share is not None:
            first = self._spacing.share_until if first is None else min(first, self._spacing.share_until)
        return None if first is None else max(first, opens_at)

    def _bounds_open_at(self, ticket: Ticket, now: float) -> float:
        return self._bounds.opens_at(ticket, self._unsent, now) if self._bounds else now

    def _end_of_nth(
        self, counted: Counted, needed: int, used: int, most: int, begin: float, now: float
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
        unsent = (now if rest < used else begin) + self.span
        ends = self._ends[at][0] if at < len(self._ends) else unsent
        return max(begin, ends) + rounds * self.span

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
        if _rate(said) > _rate(self.limit):
            if not surely:
                return
            if not self._adaptive and _rate(said) >= _rate(self._stated):
                said = evolve(self.limit, images=self._stated.images, per=self._stated.per)
        elif not surely and not refused:
            return
        elif said.per > self.limit.per and said.images > self.limit.images:
            self._bounds.add(self.limit)  # so many could go at once otherwise
        self._learned = True
        self._hold(said, truly=found.per is not None)

    def _hold(self, limit: RateLimit, *, truly: bool = False) -> None:
        """Go by another limit from now on; ``truly`` where its window is known to be that of the server."""
        if limit == self.limit:
            return
        longer = limit.per > self.limit.per
        self._set(limit)
        if longer or truly:  # else a shorter window is for those to come
            live = [ticket for _, ticket in self._live()]
            self._log.clear()
            for ticket in live:
                assert ticket.sent_at is not None  # noqa: S101 - it is in the log
                ends = ticket.sent_at + self.span
                self._enter_log(ticket, ends if truly else max(ticket.free_at or ends, ends))

    def _set(self, limit: RateLimit) -> None:
        self.limit = limit
        """What holds now."""
        self.span = span_of(limit)
        """Seconds from a request's sending until its room is free again."""
        self._spacing.hold(limit)
        self._bounds.stand_beside(limit, (ticket for _, ticket in self._live()))

    def _enter_log(self, ticket: Ticket, free_at: float) -> None:
        ticket.free_at = free_at
        self._ends = None
        self._log.append((free_at, ticket))
        if len(self._log) > 1 and self._log[-2][0] > free_at:  # after a change of the window
            self._log = deque(sorted(self._log, key=itemgetter(0)))

    def _leave_log(self, ticket: Ticket) -> None:
        if ticket in self._unsent:
            self._unsent.remove(ticket)
        elif ticket.free_at is None:
            return
        ticket.free_at = self._ends = None
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
    """Return ``limit`` with the lowest limits of requests and tokens that it or any other of its window has."""
    alike = [limit, *(each for each in others if each.per == limit.per)]
    return evolve(
        limit,
        requests=min((each.requests for each in alike if each.requests is not None), default=None),
        tokens=min((each.tokens for each in alike if each.tokens is not None), default=None),
    )


def _rate(limit: RateLimit) -> float:
    return limit.images / limit.per
