"""Virtual clock: the time of an emulator, which a test can advance."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

__all__ = ["VirtualClock"]


class VirtualClock:
    """Seconds since the epoch: those of another clock, and what was added. It is thread-safe."""

    def __init__(self, base: Callable[[], float] = time.time) -> None:
        self._base = base
        self._added = 0.0
        self._lock = threading.Lock()

    def __call__(self) -> float:
        """Return the time."""
        return self._base() + self._added

    @property
    def added(self) -> float:
        """The seconds that were added."""
        return self._added

    def advance(self, seconds: float) -> float:
        """Add seconds, and return the new time.

        Raises:
            ValueError: If ``seconds`` is negative or not finite.
        """
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ValueError(f"a clock advances by a finite number of seconds of at least 0, not {seconds!r}")
        with self._lock:
            self._added += seconds
        return self()

    def reset(self) -> None:
        """Return to the time of the other clock."""
        with self._lock:
            self._added = 0.0
