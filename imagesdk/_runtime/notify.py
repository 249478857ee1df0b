"""Broadcast events: one that wakes every waiter at each change, and sleepers that any thread can wake by name."""

from __future__ import annotations

import threading
from collections.abc import Awaitable

import anyio
import anyio.lowlevel
from anyio.lowlevel import EventLoopToken

from imagesdk._runtime.loops import call_soon, running_loop

_MOST_CALLED = 1000
"""Names that are remembered for a later sleeper."""


class Notifier:
    """A broadcast event."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def notify(self) -> None:
        """Wake every waiter."""
        self._event.set()
        self._event = anyio.Event()

    def wait(self) -> Awaitable[None]:
        """Wait for the next notification."""
        return self._event.wait()


class Wakeups:
    """Sleepers by name, which any thread can wake. A call for a name without a sleeper wakes its next one at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sleepers: dict[str, list[tuple[EventLoopToken, anyio.Event]]] = {}
        self._called: dict[str, None] = {}

    async def sleep(self, name: str, seconds: float) -> bool:
        """Sleep for so many seconds, or until the name is called. Return whether it was."""
        await anyio.lowlevel.checkpoint()
        event = anyio.Event()
        sleeper = (running_loop(), event)
        with self._lock:
            if name in self._called:
                del self._called[name]
                return True
            self._sleepers.setdefault(name, []).append(sleeper)
        try:
            with anyio.move_on_after(seconds):
                await event.wait()
            return event.is_set()
        finally:
            with self._lock:
                self._sleepers[name].remove(sleeper)
                if not self._sleepers[name]:
                    del self._sleepers[name]

    def wake(self, name: str) -> None:
        """Call a name. Thread-safe."""
        with self._lock:
            sleepers = list(self._sleepers.get(name, ()))
            if not sleepers:
                self._called[name] = None
                while len(self._called) > _MOST_CALLED:
                    del self._called[next(iter(self._called))]
        for loop, event in sleepers:
            call_soon(loop, event.set)
