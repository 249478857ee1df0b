"""A one-shot latch: one thread waits, any thread opens it, once.

What a blocking call sleeps on. Nothing about event loops lives here.
Rule: a wait that is left by an exception, at any instant, leaves the latch as it was. That is why it is made
of one bare lock: a ``threading.Condition`` (and everything built on it: events, queues, futures) has instants
at which a Ctrl-C leaves it broken.
"""

import contextlib
import os
import threading
import time

# On Windows a thread that sleeps on a lock does not notice Ctrl-C, so it has to look up now and then.
_LONGEST_SLEEP = 0.1 if os.name == "nt" else threading.TIMEOUT_MAX


class Latch:
    """Shut when made; open for good after the first ``open()``."""

    __slots__ = ("_lock", "_open")

    def __init__(self) -> None:
        self._open = False
        self._lock = threading.Lock()
        self._lock.acquire()

    @property
    def is_open(self) -> bool:
        """Whether ``open()`` was called."""
        return self._open

    def open(self) -> None:
        """Let the waiting threads go on; a second call does nothing. Never blocks."""
        self._open = True  # first: whoever takes the lock and loses it to a signal still finds this
        with contextlib.suppress(RuntimeError):  # somebody else opened it at the same time
            self._lock.release()

    def wait(self, seconds: float | None = None) -> bool:
        """Sleep until the latch is open, or for so many seconds; say whether it is open.

        Signal handlers run during the wait when the main thread waits, and what they raise leaves it.
        """
        end = None if seconds is None else time.monotonic() + seconds
        while not self._open:
            left = _LONGEST_SLEEP if end is None else min(end - time.monotonic(), _LONGEST_SLEEP)
            if left <= 0:
                break
            if self._lock.acquire(timeout=left):
                self.open()  # pass it on to the next thread that waits
        return self._open
