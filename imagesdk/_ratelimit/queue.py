"""The wait queue of a rate limit: first come, first served, for any number of permits.

Pushing and removing a permit takes constant time. A position is a sum over blocks of permits, which takes microseconds
in a queue of 100 000.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator
from itertools import islice, takewhile

_BLOCK = 256
"""Queue numbers whose totals are kept together."""
_SPARE_NUMBERS = 1024
"""Numbers without a waiting permit that are kept before the totals are rebuilt."""


class Permit:
    """One request's place in the queue, and then its entry in the log of sent requests."""

    __slots__ = ("granted", "number", "rejoined", "sent_at", "tokens", "waiting", "weight")

    def __init__(self, weight: int, number: int, tokens: int = 0) -> None:
        self.weight = weight
        """Images, at least 1."""
        self.number = number
        """Permits with a lower number are granted first."""
        self.tokens = tokens
        self.waiting = False
        """Whether the permit is in the queue."""
        self.rejoined = False
        """Whether the permit, or an earlier one with its number, has left the queue before."""
        self.granted = False
        self.sent_at: float | None = None


class WaitQueue:
    """Waiting permits in the order of their numbers."""

    def __init__(self) -> None:
        self._next_number = 0
        self._new: deque[Permit] = deque()  # in the order of their numbers; some may have left since
        self._rejoined: list[Permit] = []  # sorted by number
        self._totals = _BlockTotals(0)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def push(self, weight: int, tokens: int = 0, *, number: int | None = None) -> Permit:
        """Add a permit at the end, or at the place of an earlier permit with ``number``."""
        if number is not None:
            permit = Permit(weight, number, tokens)
            self.push_back(permit)
            return permit
        permit = Permit(weight, self._next_number, tokens)
        self._next_number += 1
        self._new.append(permit)
        self._count(permit)
        return permit

    def push_back(self, permit: Permit) -> None:
        """Return a permit to the place that it had."""
        permit.rejoined = True
        insort(self._rejoined, permit, key=_number)
        self._count(permit)

    def remove(self, permit: Permit) -> None:
        """Remove a permit from anywhere in the queue, if it is there."""
        if not permit.waiting:
            return
        permit.waiting = False
        self._length -= 1
        self._totals.discard(permit.number)
        if permit.rejoined:
            del self._rejoined[bisect_left(self._rejoined, permit.number, key=_number)]

    def clear(self) -> None:
        """Remove all permits."""
        for permit in (*self._new, *self._rejoined):
            permit.waiting = False
        self._new.clear()
        self._rejoined.clear()
        self._totals = _BlockTotals(self._next_number)
        self._length = 0

    @property
    def head(self) -> Permit | None:
        """The permit that is granted next."""
        new = self._new
        while new and not _waits(new[0]):
            new.popleft()
        if self._rejoined and (not new or self._rejoined[0].number < new[0].number):
            return self._rejoined[0]
        return new[0] if new else None

    def after(self, head: Permit, depth: int) -> Iterator[Permit]:
        """Yield the permits after ``head``, at most ``depth`` of them."""
        if len(self._new) > 2 * self._length + depth:
            self._new = deque(filter(_waits, self._new))
        new = islice(filter(_waits, self._new), depth + 1)
        nearest = sorted((*self._rejoined[: depth + 1], *new), key=_number)
        return islice((permit for permit in nearest if permit is not head), depth)

    def position(self, permit: Permit) -> tuple[int, int]:
        """Return the number of permits before ``permit``, and the images that they ask for."""
        permits, images = self._totals.before(permit.number)
        first = min(permit.number, self._totals.first)
        for earlier in takewhile(lambda rejoined: rejoined.number < first, self._rejoined):
            permits, images = permits + 1, images + earlier.weight
        return permits, images

    def _count(self, permit: Permit) -> None:
        permit.waiting = True
        self._length += 1
        totals = self._totals
        if permit.number - totals.first > 2 * self._length + _SPARE_NUMBERS:
            self._rebuild_totals()
        elif permit.number >= totals.first:  # the few below are counted by position()
            totals.add(permit)

    def _rebuild_totals(self) -> None:
        """Start the totals at the head, so that they do not grow with all permits that have ever passed."""
        self._new = deque(filter(_waits, self._new))
        waiting = [*self._new, *self._rejoined]
        self._totals = _BlockTotals(min(map(_number, waiting)))
        for permit in waiting:
            self._totals.add(permit)


def _waits(new: Permit) -> bool:
    return new.waiting and not new.rejoined


def _number(permit: Permit) -> int:
    return permit.number


class _BlockTotals:
    """Permits and images by queue number, with the totals of each block of numbers."""

    def __init__(self, first: int) -> None:
        self.first = first
        self._images: list[int] = []  # by number, from the first on; 0 where no permit waits
        self._images_of_block: list[int] = []
        self._permits_of_block: list[int] = []

    def add(self, permit: Permit) -> None:
        at = permit.number - self.first
        block = at // _BLOCK
        while block >= len(self._permits_of_block):
            self._images += [0] * _BLOCK
            self._images_of_block.append(0)
            self._permits_of_block.append(0)
        self._images[at] = permit.weight
        self._images_of_block[block] += permit.weight
        self._permits_of_block[block] += 1

    def discard(self, number: int) -> None:
        at = number - self.first
        if at >= 0:
            block = at // _BLOCK
            self._images_of_block[block] -= self._images[at]
            self._permits_of_block[block] -= 1
            self._images[at] = 0

    def before(self, number: int) -> tuple[int, int]:
        """Return the totals of all numbers below ``number``."""
        at = max(0, number - self.first)
        block = at // _BLOCK
        rest = self._images[block * _BLOCK : at]
        permits = sum(self._permits_of_block[:block]) + len(rest) - rest.count(0)
        return permits, sum(self._images_of_block[:block]) + sum(rest)
