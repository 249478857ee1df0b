"""The running event loop as a value that can be kept, compared and woken, and values that belong to one loop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from anyio.lowlevel import EventLoopToken, current_token

T = TypeVar("T")


running_loop = current_token
"""Returns the event loop that runs in this thread. It equals only itself."""


def call_soon(loop: EventLoopToken, function: Callable[[], object]) -> bool:
    """Schedule ``function`` on ``loop`` from any thread; return ``False`` if the loop has ended."""
    native: Any = loop.native_token
    try:
        if _is_trio(native):
            native.run_sync_soon(function)
        else:
            native.call_soon_threadsafe(function)
    except RuntimeError:  # both asyncio and trio raise it after the end of a loop
        return False
    return True


def has_ended(loop: EventLoopToken) -> bool:
    """Whether ``loop`` has ended."""
    native: Any = loop.native_token
    return not call_soon(loop, int) if _is_trio(native) else bool(native.is_closed())


def _is_trio(native: object) -> bool:
    return hasattr(native, "run_sync_soon")  # importing asyncio for its class would take 7 ms


class PerLoop(Generic[T]):
    """One value for each event loop, made at first use and dropped after the end of its loop."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._values: dict[EventLoopToken, T] = {}
        self._lock = threading.Lock()

    def get(self) -> T:
        """Return the running loop's value."""
        loop = running_loop()
        with self._lock:
            if loop not in self._values:
                for other in [known for known in self._values if has_ended(known)]:
                    del self._values[other]
                self._values[loop] = self._make()
            return self._values[loop]

    def pop(self) -> T | None:
        """Remove and return the running loop's value."""
        with self._lock:
            return self._values.pop(running_loop(), None)

    def living(self) -> list[T]:
        """Return the values of loops that have not ended. It takes no lock, so that finalisers can call it."""
        return [value for loop, value in list(self._values.items()) if not has_ended(loop)]
