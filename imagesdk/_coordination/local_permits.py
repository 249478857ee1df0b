"""The permits of one process, what it has to write about them into the shared document, and what it read there."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from operator import attrgetter
from typing import TypeAlias

from attrs import frozen

from imagesdk._coordination.shared_window import SharedWindow, Standing, Ticket, Turns
from imagesdk._coordination.store_clock import StoreClock
from imagesdk._ratelimit.queue import Permit
from imagesdk._ratelimit.refusals import Refusals
from imagesdk.errors import CoordinationError
from imagesdk.policies import RateLimit

ESTIMATE_SECONDS = 1.0
"""How old the estimate of a wait may be."""


class LocalPermit(Permit):
    """A permit of a call in this process. Times are of the local clock, unless named otherwise."""

    __slots__ = (
        "error",
        "estimated_at",
        "expected_at",
        "hidden",
        "last_change",
        "local_turn",
        "opens_at",
        "position",
        "turn",
        "wants_estimate",
    )

    def __init__(self, weight: int, number: int, local_turn: float) -> None:
        super().__init__(weight, number)
        self.waiting = True
        self.local_turn = local_turn
        self.turn: float | None = None
        """The turn in seconds of the store's clock, once it is known."""
        self.hidden = True
        """Whether the document has no ticket of it yet."""
        self.opens_at = math.inf
        """When the request may be sent."""
        self.last_change = 0
        """Number of the last change of its ticket."""
        self.wants_estimate = False
        """Whether the call needs to know how long it waits."""
        self.expected_at: float | None = None
        """Estimated time of the grant."""
        self.estimated_at = -math.inf
        self.position = 0
        """Tickets before it, when that was estimated."""
        self.error: CoordinationError | None = None
        """Why it is not waited for any longer."""


@frozen
class Scene:
    """Who changes or reads the document, and when."""

    me: str
    """Name of this process."""
    clock: StoreClock
    standing: Standing
    """The owners, and the store's time at least."""
    local_now: float


Apply: TypeAlias = Callable[[SharedWindow, Scene], object]


@frozen
class Change:
    """A change that this process makes to the document."""

    number: int
    apply: Apply
    due_at: float
    """When it should be written at the latest."""


class LocalPermits:
    """The permits of one process for one document. Its methods are called with the lock held."""

    def __init__(self, limit: RateLimit) -> None:
        self.lock = threading.Lock()
        self.limit = limit
        """The limit in force."""
        self.limits: list[RateLimit] = []
        """What clients of this process state."""
        self.largest_possible = limit.images
        """Most images of a request that can ever be granted."""
        self.pause_ends = -math.inf
        """End of the pause after a 429."""
        self.refusals = Refusals()
        """The 429s since the last success, in the store's time."""
        self.clock = StoreClock()
        self.changes: list[Change] = []
        """Changes that are not in the document."""
        self.held: dict[int, LocalPermit] = {}
        """Permits that the document should know, by number."""
        self._hidden: deque[LocalPermit] = deque()  # in the order of their local turns
        self._numbers = count(1)
        self._change_numbers = count(1)
        self._turns = Turns()
        self._latest: LocalPermit | None = None
        self._last_turn = -math.inf

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing that others should know."""
        return not self.changes and not self.held and not self.has_hidden

    @property
    def has_hidden(self) -> bool:
        """Whether a call waits without a ticket in the document."""
        while self._hidden and not self._hidden[0].waiting:
            self._hidden.popleft()
        return bool(self._hidden)

    def add(self, weight: int, now: float, rejoin: Permit | None) -> LocalPermit:
        """Return a new permit that waits, at the end or at the place of a released one."""
        earlier = rejoin if isinstance(rejoin, LocalPermit) else None
        alone = self._latest is None or not self._latest.waiting
        local_turn = self._turns.next(now, alone=alone) if earlier is None else earlier.local_turn
        permit = self._latest = LocalPermit(weight, next(self._numbers), local_turn)
        permit.turn = None if earlier is None else earlier.turn
        self._hide(permit)
        return permit

    def waiting(self) -> Iterator[LocalPermit]:
        """Yield all permits that wait, those with a ticket first."""
        yield from (permit for permit in self.held.values() if permit.waiting)
        yield from (permit for permit in self._hidden if permit.waiting)

    def hidden(self) -> Iterator[tuple[int, float, int]]:
        """Yield number, turn and images of the permits without a ticket, in the order of their turns."""
        for permit in self._hidden:
            if permit.waiting:
                if permit.turn is None:
                    permit.turn = max(self.clock.earliest(permit.local_turn), self._last_turn)
                    self._last_turn = permit.turn
                yield permit.number, permit.turn, permit.weight

    def reveal(self, numbers: Iterable[int], now: float) -> None:
        """Note that the document has tickets of permits that had none."""
        added, kept = set(numbers), list[LocalPermit]()
        while added:
            permit = self._hidden.popleft()
            if permit.number not in added:
                kept.append(permit)
                continue
            added.remove(permit.number)
            permit.hidden = False
            self.held[permit.number] = permit
            if not permit.waiting:  # its call has ended in the meantime
                self.cancel(permit, now)
        self._hidden.extendleft(reversed(kept))

    def change(self, permit: LocalPermit, due_at: float, apply: Apply) -> None:
        """Note a change of a permit's ticket."""
        permit.last_change = next(self._change_numbers)
        self.changes.append(Change(permit.last_change, apply, due_at))

    def cancel(self, permit: LocalPermit, now: float) -> None:
        """Give up a permit whose request was not sent."""
        permit.waiting = permit.granted = False
        if not permit.hidden and self.held.pop(permit.number, None) is not None:
            number = permit.number
            self.change(permit, now, lambda shared, scene: shared.cancel(scene.me, number))

    def return_to_queue(self, permit: LocalPermit, now: float) -> None:
        """Let a permit wait again, with another ticket at its old turn."""
        self.cancel(permit, now)
        permit.number = next(self._numbers)
        permit.waiting = True
        self._hide(permit)

    def add_lost(self, shared: SharedWindow, scene: Scene) -> None:
        """Add to a document what it has lost of the permits of this process."""
        for permit in self.held.values():
            ticket = shared.ticket(scene.me, permit.number)
            turn, number, weight = permit.turn or 0.0, permit.number, permit.weight
            if permit.waiting and ticket is None:
                shared.enqueue(scene.me, number, turn, weight)
            elif not permit.waiting and (ticket is None or ticket.waiting):
                sent_at = None if permit.sent_at is None else scene.clock.latest(permit.sent_at)
                shared.restore(scene.me, number, turn, weight, sent_at, scene.standing.now)

    def take(self, shared: SharedWindow, scene: Scene) -> list[LocalPermit]:
        """Take over what a document says. Return the permits whose calls should look at it."""
        done = shared.owners[scene.me].done if scene.me in shared.owners else 0
        self.changes = [change for change in self.changes if change.number > done]
        pause_ends = scene.clock.local(shared.pause_ends)
        is_other = shared.limit != self.limit or pause_ends > self.pause_ends
        self.limit, self.pause_ends = shared.limit, pause_ends
        self.largest_possible = shared.window.largest_possible
        self.refusals = Refusals()
        self.refusals.load(shared.refusals.dump())
        seconds = shared.window.log.window_seconds
        changed: list[LocalPermit] = []
        for permit in list(self.held.values()):
            ticket = shared.ticket(scene.me, permit.number)
            if permit.waiting and permit.last_change <= done and ticket is not None and not ticket.waiting:
                permit.waiting, permit.granted = False, True
                permit.opens_at = scene.clock.local(ticket.start_at)
                changed.append(permit)
            elif permit.sent_at is not None and scene.local_now > permit.sent_at + seconds:
                del self.held[permit.number]  # it takes no capacity any longer
        return changed + self._estimate(shared, scene, is_other=is_other)

    def shift(self, seconds: float) -> None:
        """Follow a store's clock that has jumped."""
        self._last_turn += seconds
        for permit in (*self._hidden, *self.held.values()):
            permit.turn = None if permit.turn is None else permit.turn + seconds

    def _hide(self, permit: LocalPermit) -> None:
        permit.hidden = True
        if self._hidden and self._hidden[-1].local_turn > permit.local_turn:
            self._hidden = deque(sorted([*self._hidden, permit], key=attrgetter("local_turn", "number")))
        else:
            self._hidden.append(permit)

    def _estimate(self, shared: SharedWindow, scene: Scene, *, is_other: bool) -> list[LocalPermit]:
        """Estimate the waits of the calls that need it."""
        due_at = math.inf if is_other else scene.local_now - ESTIMATE_SECONDS
        due = [each for each in self.waiting() if each.wants_estimate and each.estimated_at < due_at]
        if not due:
            return []
        shared.arrange(scene.standing)
        tickets = shared.waiting()
        ahead = len(tickets), sum(ticket.weight for ticket in tickets)
        behind = dict(self._behind(ahead)) if any(each.hidden for each in due) else {}
        for permit in due:
            ticket = shared.ticket(scene.me, permit.number)
            before = behind.get(permit)
            if ticket is not None and before is None:
                permit.position = shared.window.queue.position(ticket)[0]
            elif before is not None:
                permit.position, ticket = before[0], Ticket(scene.me, permit.number, 0.0, permit.weight)
            if ticket is not None:
                start = shared.expected_start(ticket, scene.standing.now, before)
                permit.expected_at, permit.estimated_at = scene.clock.local(start), scene.local_now
        return due

    def _behind(self, ahead: tuple[int, int]) -> Iterator[tuple[LocalPermit, tuple[int, int]]]:
        permits, images = ahead
        for permit in self._hidden:
            if permit.waiting:
                yield permit, (permits, images)
                permits, images = permits + 1, images + permit.weight
