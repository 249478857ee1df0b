"""Estimate of a store's clock, from the stamps of its replies: between two bounds, whatever this machine's clock says."""

from __future__ import annotations

import math

DRIFT = 2e-4
"""By how much the two clocks may run apart, in seconds per second."""


class StoreClock:
    """Bounds of the store's clock at a time of the local monotonic clock."""

    def __init__(self) -> None:
        self._least, self._most = -math.inf, math.inf  # of the store's clock minus the local one
        self._updated_at = 0.0

    @property
    def is_known(self) -> bool:
        """Whether there was a reply."""
        return self._least > -math.inf

    def update(self, asked_at: float, stamp: float, received_at: float) -> float:
        """Take a reply into account. Return by how many seconds the store's clock has jumped."""
        drift = DRIFT * max(0.0, received_at - self._updated_at)
        least, most = stamp - received_at, stamp - asked_at
        jump = 0.0
        if least > self._most + drift:
            jump = least - self._most - drift
        elif most < self._least - drift:
            jump = most - self._least + drift
        if jump:
            self._least, self._most = least, most
        else:
            self._least, self._most = max(self._least - drift, least), min(self._most + drift, most)
        self._updated_at = received_at
        return jump

    def hear(self, stamp: float, received_at: float) -> None:
        """Take a notice into account, which nobody asked for."""
        if stamp - received_at <= self._most:
            self._least = max(self._least, stamp - received_at)

    def earliest(self, local: float) -> float:
        """Return the store's time at least."""
        return local + self._least

    def latest(self, local: float) -> float:
        """Return the store's time at most."""
        return local + self._most

    def local(self, stamp: float) -> float:
        """Return the local time at which the store's clock has surely reached a time."""
        return stamp - self._least
