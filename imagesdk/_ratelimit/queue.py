"""The line of those who wait: first come, first served, however many stand in it.

Joining, leaving and asking how much stands before someone take time that grows with the logarithm of the line's
length, so that a hundred thousand may wait.
"""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Iterator
from itertools import count, islice, takewhile

_HEAD = 1 << 64
"""Beyond all images that may ever stand in line."""
_SMALL = 1024
"""Places: sums over fewer are kept for the next line."""


class Permit:
    """One request's place in line, and then in the log of what was sent."""

    __slots__ = ("free_at", "granted", "number", "returned", "sent_at", "tokens", "waiting", "weight")

    def __init__(self, weight: int, number: int, tokens: int = 0) -> None:
        self.weight = weight
        """Images."""
        self.number = number
        """Tickets of a lower one go first."""
        self.tokens = tokens
        self.waiting = False
        """Whether it stands in line."""
        self.returned = False
        """Whether it stood there before and left, or took the place of one that had."""
        self.granted = False
        self.sent_at: float | None = None
        self.free_at: float | None = None


class WaitQueue:
    """Tickets in the order of their numbers."""

    def __init__(self) -> None:
        self._numbers = count()
        self._first = 0  # the number that the sums begin with
        self._fresh: deque[Permit] = deque()  # in the order of their coming, with some who have left since
        self._left = 0  # of the fresh ones
        self._returned: list[Permit] = []  # by number
        self._sums = _Sums()  # of heads and images in one: a multiple of _HEAD, and the rest
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def push(self, weight: int, tokens: int = 0, *, number: int | None = None) -> Permit:
        """Stand at the end, or where one with an earlier ``number`` stood."""
        if number is not None:
            permit = Permit(weight, number, tokens)
            self._return(permit)
            return permit
        number = next(self._numbers)
        if not self._length:
            self._begin_anew(number)
        permit = Permit(weight, number, tokens)
        self._fresh.append(permit)
        self._count(permit)
        return permit

    def push_back(self, permit: Permit) -> None:
        """Stand again where the permit stood."""
        self._return(permit)

    def remove(self, permit: Permit) -> None:
        """Step out, at the front or anywhere."""
        if not permit.waiting:
            return
        permit.waiting = False
        self._length -= 1
        at = permit.number - self._first
        if at >= 0:
            self._sums.add(at, -_HEAD - permit.weight)
        if permit.returned:
            del self._returned[bisect.bisect_left(self._returned, permit.number, key=_number)]
        else:
            self._left += 1

    def clear(self) -> None:
        """Send everybody away."""
        for permit in (*self._fresh, *self._returned):
            permit.waiting = False
        self._returned.clear()
        self._sums = _Sums()
        self._length = 0
        self._clear_fresh()

    @property
    def head(self) -> Permit | None:
        """Who goes next."""
        fresh = self._fresh
        while fresh and not _stands(fresh[0]):
            fresh.popleft()
            self._left -= 1
        if self._returned and (not fresh or self._returned[0].number < fresh[0].number):
            return self._returned[0]
        return fresh[0] if fresh else None

    def after(self, head: Permit, depth: int) -> Iterator[Permit]:
        """Yield who stands behind ``head``, ``depth`` of them at most."""
        if self._left > depth + len(self._fresh) // 2:
            self._fresh, self._left = deque(filter(_stands, self._fresh)), 0
        fresh = islice(filter(_stands, self._fresh), depth + 1)
        nearest = sorted((*self._returned[: depth + 1], *fresh), key=_number)
        return islice((permit for permit in nearest if permit is not head), depth)

    def position(self, permit: Permit) -> tuple[int, int]:
        """Return how many stand before ``permit``, and how many images they ask for."""
        at = permit.number - self._first
        before = min(permit.number, self._first)
        earlier = [t.weight for t in takewhile(lambda t: t.number < before, self._returned)]
        heads, weight = divmod(self._sums.before(at), _HEAD)
        return len(earlier) + heads, sum(earlier) + weight

    def _return(self, permit: Permit) -> None:
        if not self._length:
            self._begin_anew(permit.number)
        permit.returned = True
        bisect.insort(self._returned, permit, key=_number)
        self._count(permit)

    def _count(self, permit: Permit) -> None:
        permit.waiting = True
        self._length += 1
        at = permit.number - self._first
        if at >= 2 * self._length and not self._sums.reach(at):
            self._forget_those_who_left()
        elif at >= 0:  # those who return from before the sums began are few, and counted one by one
            self._sums.add(at, _HEAD + permit.weight)

    def _begin_anew(self, number: int) -> None:
        self._first = number  # nobody stands there: all sums are zero
        self._clear_fresh()
        if self._sums.reach(_SMALL):
            self._sums = _Sums()

    def _clear_fresh(self) -> None:
        self._fresh.clear()
        self._left = 0

    def _forget_those_who_left(self) -> None:
        """Begin the sums at the head, so that a line that is never empty does not grow with all that went through it."""
        head = self.head
        assert head is not None  # noqa: S101 - one has just come
        self._first = head.number
        self._sums = _Sums()
        for permit in (*filter(_stands, self._fresh), *self._returned):
            self._sums.add(permit.number - self._first, _HEAD + permit.weight)


def _stands(fresh: Permit) -> bool:
    """Whether one of those who came has not left since."""
    return fresh.waiting and not fresh.returned


def _number(permit: Permit) -> int:
    return permit.number


class _Sums:
    """Sums of the numbers before a place, kept while they change: a Fenwick tree that grows."""

    def __init__(self) -> None:
        self._values = [0]
        self._tree = [0, 0]

    def reach(self, at: int) -> bool:
        """Whether there is a place ``at`` without growing."""
        return at < len(self._values)

    def add(self, at: int, amount: int) -> None:
        while at >= len(self._values):
            self._grow()
        self._values[at] += amount
        tree, at, size = self._tree, at + 1, len(self._tree)
        while at < size:
            tree[at] += amount
            at += at & -at

    def before(self, at: int) -> int:
        """Return the sum of what stands before place ``at``."""
        total, at = 0, max(0, min(at, len(self._values)))
        while at:
            total += self._tree[at]
            at -= at & -at
        return total

    def _grow(self) -> None:
        self._values += [0] * len(self._values)
        self._tree = [0, *self._values]
        for at in range(1, len(self._tree)):
            parent = at + (at & -at)
            if parent < len(self._tree):
                self._tree[parent] += self._tree[at]
