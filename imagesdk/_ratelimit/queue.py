"""The wait queue of a rate limit: first come, first served, for any number of permits.

Pushing and removing a permit takes constant time. A position is a sum over blocks of permits, which takes microseconds
in a queue of 100 000.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice, takewhile

_BLOCK = 256
"""Queue numbers whose totals are kept together."""
_SPARE_NUMBERS = 1024
"""Numbers without a waiting permit that are kept before the totals are rebuilt."""


class Permit:
    """One request's place in the queue, and then its entry in the log of sent requests."""

    __slots__ = ("granted", "number", "patience", "requests", "sent_at", "tokens", "waiting", "weight")

    def __init__(self, weight: int, number: int, tokens: int = 0) -> None:
        self.weight: int = weight
        """Images, at least 1."""
        self.number: int = number
        """Permits with a lower number are granted first."""
        self.tokens: int = tokens
        self.waiting: bool = False
        """Whether the permit is in the queue."""
        self.granted: bool = False
        self.requests: int = 1
        self.patience: float | None = None
        """Seconds of nothing but 429s after which it is not waited for any longer."""
        self.sent_at: float | None = None


class WaitQueue:
    """Waiting permits in the order of their numbers."""

    def __init__(self) -> None:
        self._next_number = 0
        self._new: OrderedDict[int, Permit] = OrderedDict()  # in the order of their numbers
        self._rejoined: list[Permit] = []  # sorted by number
        self._totals = _BlockTotals(0)

    def __len__(self) -> int:
        return len(self._new) + len(self._rejoined)

    def push(self, weight: int, tokens: int = 0, *, number: int | None = None) -> Permit:
        """Add a permit at the end, or at the place of an earlier permit with ``number``."""
        if number is not None:
            permit = Permit(weight, number, tokens)
            self.push_back(permit)
            return permit
        permit = self._new[self._next_number] = Permit(weight, self._next_number, tokens)
        self._next_number += 1
        self._count(permit)
        return permit

    def push_back(self, permit: Permit) -> None:
        """Return a permit to the place that it had."""
        insort(self._rejoined, permit, key=_number)
        self._count(permit)

    def remove(self, permit: Permit) -> None:
        """Remove a permit from anywhere in the queue, if it is there."""
        if not permit.waiting:
            return
        permit.waiting = False
        self._totals.discard(permit.number)
        if self._new.pop(permit.number, None) is None:
            del self._rejoined[bisect_left(self._rejoined, permit.number, key=_number)]

    def clear(self) -> None:
        """Remove all permits."""
        for permit in (*self._new.values(), *self._rejoined):
            self.remove(permit)

    @property
    def head(self) -> Permit | None:
        """The permit that is granted next."""
        firsts = (*self._rejoined[:1], *islice(self._new.values(), 1))
        return min(firsts, key=_number, default=None)

    def after(self, head: Permit, depth: int) -> Iterator[Permit]:
        """Yield the permits after ``head``, at most ``depth`` of them."""
        firsts = (*self._rejoined[: depth + 1], *islice(self._new.values(), depth + 1))
        return islice((permit for permit in sorted(firsts, key=_number) if permit is not head), depth)

    def position(self, permit: Permit) -> tuple[int, int]:
        """Return the number of permits before ``permit``, and the images that they ask for."""
        permits, images = self._totals.before(permit.number)
        first = min(permit.number, self._totals.first)
        for earlier in takewhile(lambda rejoined: rejoined.number < first, self._rejoined):
            permits, images = permits + 1, images + earlier.weight
        return permits, images

    def _count(self, permit: Permit) -> None:
        permit.waiting = True
        if permit.number - self._totals.first > 2 * len(self) + _SPARE_NUMBERS:
            # The totals begin anew at the head: they do not grow with all permits that have ever passed.
            waiting = [*self._new.values(), *self._rejoined]
            self._totals = _BlockTotals(min(map(_number, waiting)))
            for each in waiting:
                self._totals.add(each)
        elif permit.number >= self._totals.first:  # the few below are counted by position()
            self._totals.add(permit)


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
