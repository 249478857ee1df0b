"""What servers count: four kinds of limit, weighted in images. Pure: the clock's value is always given.

Each kind answers two questions, how long until so many images would be let in and how much is taken now, and is told
what was let in. An :class:`Account` puts its other users and its strictness around one.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable
from typing import Protocol

from attrs import frozen

_TINY = 1e-9
"""Seconds, or images: what floating-point sums may be wrong by."""


class Limit(Protocol):
    """So many images in so many seconds, in some sense of these words."""

    images: int
    per: float
    capacity: int
    """Images that are let in at once after a long rest."""

    def wait(self, weight: int, now: float) -> float:
        """Return the seconds until a request of that weight is let in; 0 for at once."""
        ...

    def charge(self, weight: int, now: float) -> None:
        """Count a request, whether or not it fits."""

    def used(self, now: float) -> int:
        """Return how many images are taken, rounded up."""
        ...

    def reset(self, now: float) -> float:
        """Return the seconds until nothing is taken any more, if nobody comes."""
        ...


class FixedWindow:
    """A counter that starts anew every ``per`` seconds; ``phase`` is the share of a window until it first does."""

    def __init__(self, images: int, per: float = 60.0, *, phase: float = 1.0) -> None:
        self.images = self.capacity = images
        self.per = per
        self._begins = (phase - 1.0) * per
        self._count = 0

    def wait(self, weight: int, now: float) -> float:
        self._turn(now)
        return 0.0 if self._count + weight <= self.images else self._left(now)

    def charge(self, weight: int, now: float) -> None:
        self._turn(now)
        self._count += weight

    def used(self, now: float) -> int:
        self._turn(now)
        return self._count

    def reset(self, now: float) -> float:
        return self._left(now) if self.used(now) else 0.0

    def _left(self, now: float) -> float:
        return self._begins + self.per - now

    def _turn(self, now: float) -> None:
        passed = (now - self._begins + _TINY) // self.per
        if passed > 0:
            self._begins += passed * self.per
            self._count = 0


class SlidingLog:
    """At most ``images`` in any window of ``per`` seconds."""

    def __init__(self, images: int, per: float = 60.0) -> None:
        self.images = self.capacity = images
        self.per = per
        self._log: deque[tuple[float, int]] = deque()
        self._used = 0

    def wait(self, weight: int, now: float) -> float:
        surplus = self.used(now) + weight - self.images
        for since, images in self._log:
            if surplus <= 0:
                break
            surplus -= images
            if surplus <= 0:
                return since + self.per - now
        return 0.0

    def charge(self, weight: int, now: float) -> None:
        self._log.append((now, weight))
        self._used += weight

    def used(self, now: float) -> int:
        while self._log and self._log[0][0] + self.per <= now + _TINY:
            self._used -= self._log.popleft()[1]
        return self._used

    def reset(self, now: float) -> float:
        return self._log[-1][0] + self.per - now if self.used(now) else 0.0


class Gcra:
    """The generic cell rate algorithm: a bucket of ``burst`` images that refills evenly.

    A request that is heavier than the bucket goes in when it is full, and leaves it in debt.
    """

    def __init__(self, images: int, per: float = 60.0, *, burst: int = 1) -> None:
        self.images = images
        self.per = per
        self.capacity = burst
        self._interval = per / images
        self._full_at = 0.0

    def wait(self, weight: int, now: float) -> float:
        spare = self.capacity - min(weight, self.capacity)
        found = self._full_at - spare * self._interval - now
        return found if found > _TINY else 0.0

    def charge(self, weight: int, now: float) -> None:
        self._full_at = max(self._full_at, now) + weight * self._interval

    def used(self, now: float) -> int:
        return -int(-(self.reset(now) / self._interval - _TINY) // 1)

    def reset(self, now: float) -> float:
        return max(0.0, self._full_at - now)


class Chance:
    """No limit at all: requests are refused by chance, and may be sent again after a second."""

    images = capacity = 1_000_000
    per = 60.0

    def __init__(self, chance: float, *, seed: int) -> None:
        self._chance = chance
        self._random = random.Random(seed)

    def wait(self, weight: int, now: float) -> float:
        return float(self._random.random() < self._chance)

    def charge(self, weight: int, now: float) -> None:
        pass

    def used(self, now: float) -> int:
        return 0

    def reset(self, now: float) -> float:
        return 0.0


@frozen
class Refusal:
    """Why a request was not let in."""

    retry_after: float
    """Seconds, exact, until it would be, if nobody else comes."""
    limit: int
    per: float
    used: int
    """What is taken, this request included."""


class Account:
    """One limit, its other users, and whether it holds even refused requests against those who come.

    ``others`` are pairs of a time and a number of images, in the order of time: somebody else has them then, whatever
    the limit says.
    """

    def __init__(
        self, limit: Limit, *, others: Iterable[tuple[float, int]] = (), counts_refused: bool = False
    ) -> None:
        self.limit = limit
        self.counts_refused = counts_refused
        self._others = deque(others)

    def admit(self, weight: int, now: float) -> Refusal | None:
        """Let a request in, or say why not."""
        self._let_others_in(now)
        limit = self.limit
        if weight > limit.images:
            raise ValueError(f"{weight} images never fit a limit of {limit.images}")
        wait = limit.wait(weight, now)
        if not wait:
            limit.charge(weight, now)
            return None
        taken = limit.used(now) + weight
        if self.counts_refused:
            limit.charge(weight, now)
            wait = limit.wait(weight, now)
        return Refusal(wait, limit.images, limit.per, taken)

    def next_room(self, weight: int, now: float) -> float:
        """Return when a request of that weight is let in at the earliest, if nobody but the others comes."""
        while True:
            self._let_others_in(now)
            then = now + self.limit.wait(weight, now)
            if then <= now:
                return now
            now = min(then, self._others[0][0]) if self._others else then

    def remaining(self, now: float) -> int:
        """Return how many images would be let in at once."""
        self._let_others_in(now)
        return max(0, self.limit.capacity - self.limit.used(now))

    def _let_others_in(self, now: float) -> None:
        while self._others and self._others[0][0] <= now:
            then, images = self._others.popleft()
            self.limit.charge(images, then)


def steadily(images: int, *, every: float, until: float) -> list[tuple[float, int]]:
    """Return others who take ``images`` again and again."""
    return [(turn * every, images) for turn in range(int(until / every) + 1)]
