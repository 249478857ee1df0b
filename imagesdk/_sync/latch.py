"""A one-shot latch: threads wait until it is opened, once. Blocking calls wait on one.

Rule: an exception that ends a wait, at any instant, leaves the latch as it was. Therefore it is made of one bare
lock: a ``threading.Condition``, and events, queues and futures built on it, can be left broken by a Ctrl-C.
"""

import contextlib
import os
import threading
import time

# A thread that waits for a lock does not notice Ctrl-C on Windows, and elsewhere not if the signal arrives in the moment
# before the wait, or in another thread. So it wakes up regularly.
_LONGEST_WAIT = 0.1 if os.name == "nt" else 1.0


class Latch:
    """A flag that starts closed and stays open after the first ``open()``."""

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
        """Wake the waiting threads. A second call does nothing. Never blocks."""
        self._open = True  # first: a thread that acquires the lock and loses it to a signal still finds this
        with contextlib.suppress(RuntimeError):  # another thread opened it at the same time
            self._lock.release()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the latch is open, for at most ``seconds``; return whether it is open."""
        end = None if seconds is None else time.monotonic() + seconds
        while not self._open:
            left = _LONGEST_WAIT if end is None else min(end - time.monotonic(), _LONGEST_WAIT)
            if left <= 0:
                break
            if self._lock.acquire(timeout=left):
                self.open()  # wakes the next waiting thread
        return self._open
