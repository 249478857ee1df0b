"""The rate limit as a state machine: a log of what was sent, and the queue of those who wait.

A sliding log, weighted in images, is safe against every kind of server-side limit: fixed windows, sliding
windows and token buckets. An entry takes room from the moment it is granted and gives it back one window after
it was *sent*. The queue is strictly first come, first served. Times are seconds of any monotonic clock, always
given by the caller.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import count

from imagesdk.policies import RateLimit

_MARGIN = 1.005
"""Our window is this many times the server's, for clocks that differ a little."""
_TRAVEL = 0.05
"""Seconds on top: the server counts a request when it has arrived, we when it has left."""


class Ticket:
    """One request's place in line, and then in the log."""

    __slots__ = ("free_at", "granted", "number", "sent_at", "weight")

    def __init__(self, weight: int, number: int) -> None:
        self.weight = weight
        self.number = number
        self.granted = False
        self.sent_at: float | None = None
        self.free_at: float | None = None


class RateWindow:
    """The state of one limit."""

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        self._numbers = count()
        self._queue: deque[Ticket] = deque()
        self._log: list[Ticket] = []
        self._used = 0
        self._not_before = -math.inf
        self._pause_ends = -math.inf
        self._pauses = 0

    @property
    def gap(self) -> float:
        """Seconds between two grants of a burst: a wrong guess then costs few refusals."""
        return min(self.limit.per / 1200, self.limit.per / (4 * self.limit.images))

    @property
    def span(self) -> float:
        """Seconds from a request's sending until its room is free again."""
        return self.limit.per * _MARGIN + _TRAVEL

    @property
    def idle(self) -> bool:
        """Whether nobody waits and nothing takes room."""
        return not self._queue and not self._log

    def fits(self, weight: int) -> bool:
        """Whether a request of this weight can ever be granted."""
        return weight <= self.limit.images

    def enqueue(self, weight: int) -> Ticket:
        """Take a place at the end of the line."""
        ticket = Ticket(weight, next(self._numbers))
        self._queue.append(ticket)
        return ticket

    def requeue(self, ticket: Ticket) -> None:
        """Give back what a refused request took and put it back where it stood in line."""
        self._leave_log(ticket)
        ticket.granted = False
        ticket.sent_at = ticket.free_at = None
        at = next(
            (i for i, other in enumerate(self._queue) if other.number > ticket.number), len(self._queue)
        )
        self._queue.insert(at, ticket)

    def poll(self, now: float) -> tuple[list[Ticket], float | None]:
        """Grant all that may go at ``now``.

        Returns the tickets granted, and when to poll again: ``None`` when only :meth:`sent`, :meth:`cancel`
        or a new ticket can change anything.
        """
        granted: list[Ticket] = []
        self._expire(now)
        while (
            self._queue
            and now >= self._not_before
            and self._used + self._queue[0].weight <= self.limit.images
        ):
            ticket = self._queue.popleft()
            ticket.granted = True
            self._log.append(ticket)
            self._used += ticket.weight
            self._not_before = now + self.gap
            granted.append(ticket)
        return granted, self._next_at(now)

    def _next_at(self, now: float) -> float | None:
        if not self._queue:
            return None
        room = self._room_at(self._queue[0].weight, now)
        return None if room is None else max(room, self._not_before)

    def _room_at(self, weight: int, now: float) -> float | None:
        used = self._used
        if used + weight <= self.limit.images:
            return now
        for ticket in sorted((t for t in self._log if t.free_at is not None), key=lambda t: t.free_at or 0):
            used -= ticket.weight
            if used + weight <= self.limit.images:
                return ticket.free_at
        return None

    def expected_start(self, ticket: Ticket, now: float) -> float:
        """Return when ``ticket`` may go at the earliest, if all before it are sent the moment they are granted."""
        window = self.span
        frees = sorted((t.free_at if t.free_at is not None else now + window, t.weight) for t in self._log)
        at, used = max(now, self._not_before), self._used
        pending = deque(frees)
        for other in self._queue:
            while used + other.weight > self.limit.images and pending:
                free_at, weight = pending.popleft()
                at, used = max(at, free_at), used - weight
            if other is ticket:
                break
            pending.append((at + window, other.weight))
            used += other.weight
            at += self.gap
        return at

    def sent(self, ticket: Ticket, now: float) -> None:
        """Note that the request has been written out whole: its window begins now."""
        if ticket.granted and ticket.sent_at is None:
            ticket.sent_at = now
            ticket.free_at = now + self.span

    def cancel(self, ticket: Ticket) -> None:
        """Give up a place in line, or a grant whose request was never sent."""
        if ticket.granted:
            if ticket.sent_at is None:
                self._leave_log(ticket)
        elif ticket in self._queue:
            self._queue.remove(ticket)

    def clear_queue(self) -> None:
        """Forget all who wait."""
        self._queue.clear()

    def throttled(self, ticket: Ticket, now: float, retry_after: float | None) -> None:
        """Learn from an answer of 429: put the request back in line and pause everybody.

        Requests that were sent before the pause began belong to the same refusal and change nothing.
        """
        fresh = (now if ticket.sent_at is None else ticket.sent_at) >= self._pause_ends
        self.requeue(ticket)
        if not fresh:
            return
        self._pauses += 1
        window = self.limit.per
        backoff = min(window, window / 60 * 2 ** min(self._pauses - 1, 6))
        if retry_after is None or not 0 < retry_after <= 2 * window:
            pause = backoff
        else:
            pause = max(retry_after, backoff / 2 if self._pauses > 1 else 0.0)
        self._not_before = max(self._not_before, now + pause)
        self._pause_ends = self._not_before

    def proven(self) -> None:
        """Note that the server took a request: pauses begin small again."""
        self._pauses = 0

    def _leave_log(self, ticket: Ticket) -> None:
        if ticket in self._log:
            self._log.remove(ticket)
            self._used -= ticket.weight

    def _expire(self, now: float) -> None:
        for ticket in [t for t in self._log if t.free_at is not None and t.free_at <= now]:
            self._leave_log(ticket)
