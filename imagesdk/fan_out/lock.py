"""Lock for one run per journal. The operating system releases it when the process ends, however it ends.

The lock is on a file beside the journal. A second descriptor of the journal itself would release the locks of SQLite when
it is closed (https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from imagesdk.errors import JournalError
from imagesdk.remedies import Remedy

_held: set[int] = set()
"""Descriptors of held locks. A forked child closes them, so that it does not hold the locks of its parent."""


class RunnerLock:
    """Exclusive lock of a journal, held from construction until ``release``.

    Raises:
        JournalError: If another run holds the lock.
        OSError: If the lock file cannot be created, or its file system has no locks.
    """

    def __init__(self, journal: Path) -> None:
        self._descriptor = os.open(f"{journal}-lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if not _lock(self._descriptor):
                holder = os.read(self._descriptor, 20).decode("ascii", "replace").strip()
                process = f" (process {holder})" if holder else ""
                summary = f"Another run uses {journal}{process}."
                raise JournalError(summary, remedies=(Remedy.USE_ANOTHER_JOURNAL,))
            os.truncate(self._descriptor, 0)
            os.write(self._descriptor, f"{os.getpid()}\n".encode())
        except BaseException:
            os.close(self._descriptor)
            raise
        _held.add(self._descriptor)

    def release(self) -> None:
        """Release the lock. In a forked child this does nothing, because the child does not hold it."""
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
