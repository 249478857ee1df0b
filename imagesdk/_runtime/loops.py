"""Which event loop runs here, as a value that can be kept, compared and woken; and things that one loop owns."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from anyio.lowlevel import EventLoopToken, current_token

T = TypeVar("T")


def running_loop() -> EventLoopToken:
    """Return the loop that runs in this thread. Equal only to itself."""
    return current_token()


def call_soon(loop: EventLoopToken, function: Callable[[], object]) -> bool:
    """Have ``loop`` call ``function`` soon, from any thread; ``False`` where it has ended."""
    native: Any = loop.native_token
    try:
        if _is_trio(native):
            native.run_sync_soon(function)
        else:
            native.call_soon_threadsafe(function)
    except RuntimeError:  # both asyncio and trio say so of a loop that has ended
        return False
    return True


def has_ended(loop: EventLoopToken) -> bool:
    """Whether nothing can run on ``loop`` any more."""
    native: Any = loop.native_token
    if not _is_trio(native):
        closed: bool = native.is_closed()
        return closed
    try:
        native.run_sync_soon(int)
    except RuntimeError:
        return True
    return False


def _is_trio(native: object) -> bool:
    return hasattr(native, "run_sync_soon")  # to import asyncio for a look at its class takes 7 ms


class PerLoop(Generic[T]):
    """One value for each event loop, made when it is first asked for and dropped after its loop has ended."""

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
        """Forget the running loop's value and return it."""
        with self._lock:
            return self._values.pop(running_loop(), None)

    def living(self) -> list[T]:
        """Return the values of loops that have not ended. For finalisers: it waits for no lock."""
        return [value for loop, value in list(self._values.items()) if not has_ended(loop)]
