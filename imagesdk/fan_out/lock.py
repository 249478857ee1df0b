"""One runner for each journal: a lock that the system takes away with the process, however that ends.

The lock is on a file beside the journal, not on the journal: to close that a second time would take away the locks of SQLite
itself (https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from imagesdk.errors import JournalError
from imagesdk.remedies import Remedy

_held: set[int] = set()
"""Descriptors of locks, which a forked child must not keep for its parent."""


class RunnerLock:
    """Held from its making until ``release``.

    Raises:
        JournalError: another run holds it.
        OSError: the file cannot be made, or its file system knows no locks.
    """

    def __init__(self, journal: Path) -> None:
        self._descriptor = os.open(f"{journal}-lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if not _lock(self._descriptor):
                holder = os.read(self._descriptor, 20).decode("ascii", "replace").strip()
                said = f" (process {holder})" if holder else ""
                raise JournalError(
                    f"Another run uses {journal}{said}.", remedies=(Remedy.USE_ANOTHER_JOURNAL,)
                )
            os.truncate(self._descriptor, 0)
            os.write(self._descriptor, f"{os.getpid()}\n".encode())
        except BaseException:
            os.close(self._descriptor)
            raise
        _held.add(self._descriptor)

    def release(self) -> None:
        """Let others in. (In a forked child nothing is to be done: it does not have it.)"""
        if self._descriptor in _held:
            _held.discard(self._descriptor)
            os.close(self._descriptor)


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _after_fork() -> None:
    for descriptor in list(_held):
        os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
