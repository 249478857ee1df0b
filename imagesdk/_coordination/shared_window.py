"""One sliding window for many processes: a document that every process may change, one after the other.

The rules of the limit are those of :class:`~imagesdk._ratelimit.window.SlidingWindow`. These are added:

- An *owner* is a process. It is dead when it has not been seen for :data:`LEASE_SECONDS`. Its waiting tickets are then
  removed. Its granted tickets count as sent at that moment, because they may have been. Nothing is granted to an owner
  that has been silent for :data:`SILENCE_SECONDS`.
- The queue is in the order of turns. The turn of a call is its arrival in seconds of the store's clock. Calls of one
  owner that arrive together have turns 2 ms apart, at most 0.15 s after their arrival, so that owners that start together
  share the window: none starts before its turn.
- The document holds the tickets at the front of the queue. An owner that has more says from which turn on, and nobody is
  granted a later one before the owner has added them.
- A ticket is granted for a start at most :data:`HORIZON_SECONDS` ahead, so that one change of the document serves a burst.
- An owner adds what the document has lost of its own requests (a flushed store, a failover). Nothing is granted for
  :data:`SETTLE_SECONDS` after that, so that the others can do the same.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final

from attrs import asdict, define, field

from imagesdk._protocol.server_limits import ServerLimits
from imagesdk._ratelimit.queue import Permit, WaitQueue
from imagesdk._ratelimit.refusals import Refusals
from imagesdk._ratelimit.window import SlidingWindow
from imagesdk.policies import DEFAULT_RATE_LIMIT, RateLimit

FORMAT: Final = 1
"""Version of the document."""
LEASE_SECONDS = 10.0
"""Time without a sign of life after which an owner is dead."""
SILENCE_SECONDS = 5.0
"""Time without a sign of life after which an owner is granted nothing."""
SETTLE_SECONDS = 2.5
"""Time without grants after a loss, longer than the distance of two signs of life."""
HORIZON_SECONDS = 0.05
"""How far ahead a ticket may be granted."""
HORIZON_WINDOWS = 1 / 60
"""The same in windows."""
TURN_SECONDS = 0.002
"""Distance of the turns of calls that arrive together."""
MAX_TURN_DELAY = 0.15
"""Longest time from the arrival of a call to its turn."""
TOKENS_AVERAGE_WEIGHT = 1 / 8
"""Weight of the latest request in the average of tokens per image."""
FRONT_WINDOWS = 2
"""Windows whose images are in the document before a ticket that is left out."""
FRONT_IMAGES = (32, 256)
"""Least and most of these images."""
_LOST = -1
"""Reference to a permit that has left the document."""


class UnknownFormat(Exception):  # noqa: N818 - it names a fact about the document
    """The document was written by another version of the package."""


class Ticket(Permit):
    """A permit of one owner."""

    __slots__ = ("owner", "seq", "start_at", "turn")

    def __init__(self, owner: str, seq: int, turn: float, weight: int, tokens: int = 0) -> None:
        super().__init__(weight, 0, tokens)
        self.owner = owner
        self.seq = seq
        """Number of the call among those of its owner."""
        self.turn = turn
        """Place in the queue, in seconds of the store's clock."""
        self.start_at = 0.0
        """When the request may be sent, if the ticket is granted."""

    @property
    def place(self) -> tuple[float, str, int]:
        """What the queue is sorted by."""
        return self.turn, self.owner, self.seq


@define
class Owner:
    """What the document knows of a process."""

    limits: list[RateLimit] = field(factory=list[RateLimit])
    """The limits that it states; none for the default."""
    done: int = 0
    """Number of its last change."""
    hidden_turn: float | None = None
    """The first turn of its tickets that are not in the document."""


@define
class Standing:
    """When owners were last seen, from the point of view of one of them, which is alive."""

    me: str
    now: float
    seen: Mapping[str, float] = field(factory=dict[str, float])

    def silence(self, owner: str) -> float:
        """Return the seconds since an owner was seen."""
        return 0.0 if owner == self.me else self.now - self.seen.get(owner, self.now)


class SharedWindow:
    """State of one account's rate limit for all of its processes. Times are seconds of the store's clock."""

    def __init__(self, limits: Sequence[RateLimit] = ()) -> None:
        first, *_ = limits or (DEFAULT_RATE_LIMIT,)
        self.window = SlidingWindow(first, adaptive=not limits, brisk=True)
        self.owners: dict[str, Owner] = {}
        self.refusals = Refusals()
        self.settles_at = -math.inf
        """Nothing is granted before."""
        self.time = -math.inf
        """Latest time at which something was or could have been granted."""
        self.changed_at = -math.inf
        """Earliest time of the last change."""
        self.next_at: float | None = None
        """When something can be granted, as far as the last writer knew; ``None`` if only a change can help."""
        self._tokens_per_image: float | None = None
        self._tickets: dict[tuple[str, int], Ticket] = {}

    @property
    def limit(self) -> RateLimit:
        """The limit in force."""
        return self.window.limit

    @property
    def pause_ends(self) -> float:
        """End of the pause after the last 429."""
        return self.window.pacer.pause_ends

    @property
    def horizon(self) -> float:
        """How far ahead a ticket may be granted, in seconds."""
        return min(HORIZON_SECONDS, self.limit.per * HORIZON_WINDOWS)

    @property
    def front_images(self) -> int:
        """Images in the document before a ticket that is left out."""
        least, most = FRONT_IMAGES
        return min(max(FRONT_WINDOWS * self.limit.images, least), most)

    def ticket(self, owner: str, seq: int) -> Ticket | None:
        """Return a ticket that waits or takes capacity."""
        return self._tickets.get((owner, seq))

    def waiting(self) -> list[Ticket]:
        """Return all waiting tickets in their order."""
        return sorted((each for each in self._tickets.values() if each.waiting), key=lambda each: each.place)

    def join(self, owner: str, limits: Iterable[RateLimit]) -> bool:
        """Add an owner, or the limits that it states; return whether that is a change."""
        is_new = owner not in self.owners
        known = self.owners.setdefault(owner, Owner())
        added = [limit for limit in limits if limit not in known.limits]
        for limit in added:
            if self.window.stated != limit and limit not in self._stated_limits():
                self.window.restrict(limit)
            known.limits.append(limit)
        return is_new or bool(added)

    def leave(self, owner: str, now: float) -> None:
        """Remove an owner: its waiting tickets go, and its granted ones count as sent."""
        before = self._stated_limits()
        self.owners.pop(owner, None)
        for ticket in [each for each in self._tickets.values() if each.owner == owner]:
            if ticket.waiting:
                self._remove(ticket)
            else:
                self.window.sent(ticket, now)
        rest = self._stated_limits()
        if rest and rest != before:
            self._renew(self.window.renewed(rest), now)

    def dead(self, standing: Standing) -> list[str]:
        """Return the owners that are dead."""
        return [owner for owner in self.owners if standing.silence(owner) > LEASE_SECONDS]

    def remove_dead(self, standing: Standing) -> None:
        """Remove the owners that are dead."""
        for owner in self.dead(standing):
            self.leave(owner, standing.now)

    def turn_back(self, now: float) -> None:
        """Continue with a clock that is behind the one so far: everything counts as sent now."""
        delta = self.changed_at - now
        for owner in self.owners.values():
            owner.hidden_turn = None if owner.hidden_turn is None else owner.hidden_turn - delta
        for ticket in self._tickets.values():
            ticket.turn -= delta
            if ticket.sent_at is not None:
                ticket.sent_at = now
        self.time = self.changed_at = now
        self.settles_at, self.refusals = -math.inf, Refusals()
        self._renew(self.window.renewed(), now)

    def settle(self, until: float) -> None:
        """Grant nothing for a time, so that all owners can add what was lost."""
        self.settles_at = max(self.settles_at, until)

    def enqueue(self, owner: str, seq: int, turn: float, weight: int) -> None:
        """Add a ticket to the queue."""
        if (owner, seq) not in self._tickets:
            ticket = Ticket(owner, seq, turn, weight, self._estimated_tokens(weight))
            self._tickets[owner, seq] = ticket
            ticket.waiting = True
            self.window.note_weight(weight)

    def restore(
        self, owner: str, seq: int, turn: float, weight: int, sent_at: float | None, now: float
    ) -> None:
        """Add a granted ticket that was lost, or that was sent after its owner was taken for dead."""
        if sent_at is not None and sent_at + self.window.log.window_seconds <= now:
            return
        if (ticket := self._tickets.get((owner, seq))) is not None:
            self._remove(ticket)
        ticket = self._tickets[owner, seq] = Ticket(owner, seq, turn, weight)
        if sent_at is None:
            self.window.hold(ticket)
        else:
            self.window.restore(ticket, sent_at, now)
        self.settle(now + SETTLE_SECONDS)

    def sent(self, owner: str, seq: int, sent_at: float, now: float) -> None:
        """Start the window of a request, or start it later if others took its owner for dead before."""
        ticket = self._tickets.get((owner, seq))
        if ticket is None or ticket.waiting:
            return
        if ticket.sent_at is None:
            self.window.sent(ticket, sent_at)
        elif sent_at > ticket.sent_at:
            self.window.discard(ticket)
            self.window.restore(ticket, sent_at, now)

    def accepted(self, owner: str, seq: int, stated: ServerLimits, tokens: int | None) -> None:
        """Note that the server accepted a request, with the limits it stated and the tokens it counted."""
        self.refusals.clear()
        ticket = self._tickets.get((owner, seq))
        if ticket is None or ticket.waiting:
            return
        if tokens is not None:
            self.window.correct_tokens(ticket, tokens)
            latest, average = tokens / ticket.weight, self._tokens_per_image
            change = 0.0 if average is None else (latest - average) * TOKENS_AVERAGE_WEIGHT
            self._tokens_per_image = latest if average is None else average + change
        self.window.accepted(ticket, stated)

    def answered(self, owner: str, seq: int, stated: ServerLimits, *, uncounted: bool) -> None:
        """Note that the server refused a request, though not for its limit."""
        self.refusals.clear()
        ticket = self._tickets.get((owner, seq))
        if ticket is not None and not ticket.waiting:
            self.window.answered(ticket, stated, uncounted=uncounted)

    def rejected(
        self,
        owner: str,
        seq: int,
        turn: float,
        weight: int,
        sent_at: float | None,
        now: float,
        stated: ServerLimits,
    ) -> bool:
        """Handle a 429: all owners pause, and the ticket returns to its place. Return whether to warn."""
        ticket = self._tickets.get((owner, seq))
        if ticket is None:
            ticket = self._tickets[owner, seq] = Ticket(owner, seq, turn, weight)
            ticket.sent_at = sent_at
        if ticket.waiting:
            return False
        asked_until, per = self.pause_ends, self.limit.per
        sent_at = now if ticket.sent_at is None else ticket.sent_at
        self.window.rejected(ticket, now, stated)
        return self.refusals.add(sent_at, now, asked_until=asked_until, per=per, message=stated.message)

    def cancel(self, owner: str, seq: int) -> None:
        """Give up a place in the queue, or a granted ticket whose request was not sent."""
        ticket = self._tickets.get((owner, seq))
        if ticket is not None and ticket.sent_at is None:
            self._remove(ticket)

    def wants_more(self, owner: str, standing: Standing) -> bool:
        """Return whether an owner with hidden tickets should add some now."""
        known = self.owners.get(owner)
        if known is None or known.hidden_turn is None:
            return True
        return self._images_before(standing)(known.hidden_turn) < self.front_images / 2

    def admit(self, owner: str, hidden: Iterable[tuple[int, float, int]], standing: Standing) -> list[int]:
        """Add tickets of an owner as far as they are at the front of the queue, and return their numbers.

        ``hidden`` has the number, the turn and the images of each, in the order of turns.
        """
        before = self._images_before(standing)
        added, images = list[int](), 0
        first_hidden = None
        for seq, turn, weight in hidden:
            if before(turn) + images >= self.front_images:
                first_hidden = turn
                break
            self.enqueue(owner, seq, turn, weight)
            added.append(seq)
            images += weight
        self.owners[owner].hidden_turn = first_hidden
        return added

    def grant_ready(self, standing: Standing) -> list[Ticket]:
        """Grant the tickets that may start now or within the horizon, and return them."""
        granted: list[Ticket] = []
        now = standing.now
        self.arrange(standing)
        at, end = max(now, self.time, self.settles_at), now + self.horizon
        while (at := max(at, self._first_turn())) <= end:
            self.time = at
            permits, self.next_at = self.window.grant_ready(at)
            for permit in permits:
                assert isinstance(permit, Ticket)  # noqa: S101 - the queue holds no other permits
                permit.start_at = at
                granted.append(permit)
            if self.next_at is None or (self.next_at <= at and not permits):
                return granted
            at = max(at, self.next_at)
        self.next_at = at if self.window.queue else None
        return granted

    def _first_turn(self) -> float:
        """Return when the first ticket may start at the earliest."""
        head = self.window.queue.head
        return head.turn if isinstance(head, Ticket) else -math.inf

    def arrange(self, standing: Standing) -> None:
        """Queue the tickets that may be granted."""
        hidden = self._first_hidden(standing)
        barrier = math.inf if hidden is None else hidden[0]
        self.window.queue = WaitQueue()
        for number, ticket in enumerate(self.waiting()):
            ticket.number = number
            if ticket.turn <= barrier and standing.silence(ticket.owner) <= SILENCE_SECONDS:
                self.window.queue.push_back(ticket)

    def leaders(self, standing: Standing) -> list[str]:
        """Return the owners that can grant, the one first whose ticket is granted next."""
        order = dict.fromkeys(each.owner for each in self.waiting())
        return [owner for owner in order if standing.silence(owner) <= SILENCE_SECONDS]

    def short_of(self, standing: Standing) -> str | None:
        """Return the owner that should add tickets soon, so that nobody has to wait for it."""
        hidden = self._first_hidden(standing)
        if hidden is None or self._images_before(standing)(hidden[0]) >= self.front_images / 2:
            return None
        return hidden[1]

    def expected_start(self, ticket: Permit, now: float, before: tuple[int, int] | None = None) -> float:
        """Estimate when a ticket is granted; call it after :meth:`grant_ready`."""
        at = max(now, self.settles_at)
        return max(at, self.window.expected_start(ticket, at, before))

    def dump(self) -> str:
        """Return the document."""
        counts = self.window.counts
        self._tickets = {key: each for key, each in self._tickets.items() if each.waiting or counts(each)}
        tickets = list(self._tickets.values())
        reference: dict[Permit, int] = {ticket: number for number, ticket in enumerate(tickets)}
        known = dict.fromkeys([*self.owners, *(each.owner for each in tickets)])
        names = {name: number for number, name in enumerate(known)}
        state = {
            "format": FORMAT,
            "names": list(names),
            "owners": {name: asdict(owner) for name, owner in self.owners.items()},
            "tickets": [
                [
                    names[each.owner],
                    each.seq,
                    each.turn,
                    each.weight,
                    each.tokens,
                    int(each.waiting),
                    each.sent_at,
                    each.start_at,
                ]
                for each in tickets
            ],
            "window": self.window.dump(lambda permit: reference.get(permit, _LOST)),
            "refusals": self.refusals.dump(),
            "times": [self.settles_at, self.time, self.changed_at, self.next_at],
            "tokens_per_image": self._tokens_per_image,
        }
        return json.dumps(state, separators=(",", ":"))

    @classmethod
    def load(cls, document: str) -> SharedWindow:
        """Return the window of a document.

        Raises:
            UnknownFormat: If the document is not one of this version.
        """
        try:
            state: dict[str, Any] = json.loads(document)
            if state["format"] != FORMAT:
                raise UnknownFormat(f"format {state['format']!r}")
            shared = cls()
            shared._read(state)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise UnknownFormat(f"{type(error).__name__}: {error}") from error
        return shared

    def _read(self, state: dict[str, Any]) -> None:
        for name, owner in state["owners"].items():
            limits = [RateLimit(**limit) for limit in owner["limits"]]
            self.owners[name] = Owner(limits, owner["done"], owner["hidden_turn"])
        tickets: list[Ticket] = []
        for name, seq, turn, weight, tokens, waiting, sent_at, start_at in state["tickets"]:
            ticket = Ticket(state["names"][name], seq, turn, weight, tokens)
            ticket.waiting, ticket.granted = bool(waiting), not waiting
            ticket.sent_at, ticket.start_at = sent_at, start_at
            self._tickets[ticket.owner, seq] = ticket
            tickets.append(ticket)
        gone = Permit(1, _LOST)

        def permit_of(number: int) -> Permit:
            return tickets[number] if number >= 0 else gone

        self.window = SlidingWindow.load(state["window"], permit_of)
        self.refusals.load(state["refusals"])
        self.settles_at, self.time, self.changed_at, self.next_at = state["times"]
        self._tokens_per_image = state["tokens_per_image"]

    def _stated_limits(self) -> list[RateLimit]:
        return list(dict.fromkeys(limit for owner in self.owners.values() for limit in owner.limits))

    def _images_before(self, standing: Standing) -> Callable[[float], int]:
        """Return what counts the waiting images before a turn."""
        waiting = [each for each in self.waiting() if standing.silence(each.owner) <= SILENCE_SECONDS]
        turns = [ticket.turn for ticket in waiting]
        totals = [0, *accumulate(ticket.weight for ticket in waiting)]
        return lambda turn: totals[bisect_left(turns, turn)]

    def _renew(self, window: SlidingWindow, now: float) -> None:
        """Count all requests in another window."""
        before, self.window = self.window, window
        window.pacer.pause_ends = min(before.pacer.pause_ends, now + window.limit.per)
        for ticket in self._tickets.values():
            if ticket.waiting or not before.counts(ticket):
                continue
            if ticket.sent_at is None:
                window.hold(ticket)
            else:
                window.restore(ticket, ticket.sent_at, now)

    def _remove(self, ticket: Ticket) -> None:
        if not ticket.waiting:
            self.window.discard(ticket)
        ticket.waiting = False
        self._tickets.pop((ticket.owner, ticket.seq), None)

    def _first_hidden(self, standing: Standing) -> tuple[float, str] | None:
        hidden = (
            (owner.hidden_turn, name)
            for name, owner in self.owners.items()
            if owner.hidden_turn is not None and standing.silence(name) <= SILENCE_SECONDS
        )
        return min(hidden, default=None)

    def _estimated_tokens(self, weight: int) -> int:
        limit, average = self.limit, self._tokens_per_image
        if limit.tokens is None:
            return 0
        return round(weight * (limit.tokens / limit.images if average is None else average))


class Turns:
    """Turns of the calls of one owner."""

    def __init__(self) -> None:
        self._last = -math.inf

    def next(self, arrival: float, *, alone: bool = False) -> float:
        """Return the turn of the next call; that of a call that waits ``alone`` is its arrival."""
        due = arrival if alone else self._last + TURN_SECONDS
        self._last = min(arrival + MAX_TURN_DELAY, max(arrival, due))
        return self._last
