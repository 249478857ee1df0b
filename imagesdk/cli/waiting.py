"""Notices on stderr about calls that wait for the rate limit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from imagesdk.events import Event

NOTICE_AFTER = 3.0
"""Seconds of waiting before a notice."""
_INTERVAL = 60.0
"""Minimum number of seconds between two notices of a command."""
_LIMIT_ERROR = "RateLimitError"


class Timer(Protocol):
    """A function call in the future."""

    def start(self) -> None:
        """Start the time."""
        ...

    def cancel(self) -> None:
        """Prevent the call."""
        ...


def _thread(seconds: float, function: Callable[[], None]) -> Timer:
    timer = threading.Timer(seconds, function)
    timer.daemon = True
    return timer


class WaitNotices:
    """Observer that reports a wait for the rate limit after :data:`NOTICE_AFTER` seconds.

    A wait begins when a call queues, or when the server refuses it with 429. It ends with any other response.

    Args:
        write: Prints a notice. Called in another thread than the event loop, so that it may block.
        timer: Creates the timer of a call.
        clock: The time in seconds, for the interval between two notices.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        *,
        timer: Callable[[float, Callable[[], None]], Timer] = _thread,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._timer = timer
        self._clock = clock
        self._timers: dict[str, Timer] = {}
        self._texts: dict[str, str] = {}
        self._noticed_at: float | None = None

    def __call__(self, event: Event) -> None:
        """Receive an event, on the thread of the event loop."""
        from imagesdk.events import (
            AttemptStarted,
            CallEnded,
            LimitWaiting,
            ResponseReceived,
            RetryScheduled,
        )

        if not isinstance(
            event, LimitWaiting | RetryScheduled | ResponseReceived | AttemptStarted | CallEnded
        ):
            return
        call = event.call_id
        if isinstance(event, LimitWaiting):
            self._texts[call] = f"waiting about {event.seconds:.0f} s for {event.reason}"
        elif isinstance(event, RetryScheduled) and event.reason == _LIMIT_ERROR:
            self._texts.setdefault(call, "waiting for the rate limit: the server refused the request (429)")
        elif isinstance(event, CallEnded) or (
            isinstance(event, ResponseReceived) and event.status_code != 429
        ):
            self._end(call)
        elif isinstance(event, AttemptStarted):
            self._texts.pop(call, None)
        if call in self._texts and call not in self._timers:
            timer = self._timers[call] = self._timer(NOTICE_AFTER, lambda: self._notice(call))
            timer.start()

    def close(self) -> None:
        """Print no further notice."""
        for call in list(self._timers):
            self._end(call)

    def _end(self, call: str) -> None:
        self._texts.pop(call, None)
        if timer := self._timers.pop(call, None):
            timer.cancel()

    def _notice(self, call: str) -> None:
        self._timers.pop(call, None)
        text, now = self._texts.get(call), self._clock()
        if text is not None and (self._noticed_at is None or now - self._noticed_at >= _INTERVAL):
            self._noticed_at = now
            self._write(text)
