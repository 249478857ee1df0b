"""Which event loop runs here, as a value that can be kept, compared and woken; and things that one loop owns."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar, cast

from anyio.lowlevel import EventLoopToken, current_token

T = TypeVar("T")


def running_loop() -> EventLoopToken:
    """Return the loop that runs in this thread. Equal only to itself."""
    return current_token()


def call_soon(loop: EventLoopToken, function: Callable[[], object]) -> None:
    """Have ``loop`` call ``function`` soon, from any thread. A loop that has ended is passed over."""
    native = loop.native_token
    with suppress(RuntimeError):  # both asyncio and trio say so of a loop that has ended
        if isinstance(native, asyncio.AbstractEventLoop):
            native.call_soon_threadsafe(function)
        else:
            cast("Any", native).run_sync_soon(function)


def has_ended(loop: EventLoopToken) -> bool:
    """Whether nothing can run on ``loop`` any more."""
    native = loop.native_token
    if isinstance(native, asyncio.AbstractEventLoop):
        return native.is_closed()
    try:
        cast("Any", native).run_sync_soon(int)
    except RuntimeError:
        return True
    return False


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
