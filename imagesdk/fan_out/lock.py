"""Lock for one run per journal. The operating system releases it when the process ends, however it ends.

The lock is on a file beside the journal. A second descriptor of the journal itself would release the locks of SQLite when
it is closed (https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_).

A link at its name is not followed, and a file that is not a lock is not changed. A lock or journal that was removed or
replaced protects nothing, so the run compares names and open files at each commit.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
from pathlib import Path

from imagesdk.errors import JournalError
from imagesdk.remedies import Remedy

_held: set[int] = set()
"""Descriptors of held locks. A forked child closes them, so that it does not hold the locks of its parent."""


_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_LENGTH = 20
"""Bytes of the text of a lock: the number of its process, and spaces."""
_IS_LOCK = re.compile(rb"[0-9]* *\n?")


class RunnerLock:
    """Exclusive lock of a journal, held from construction until ``release``.

    Raises:
        JournalError: If another run holds the lock, or its name is that of a link or another kind of file.
        OSError: If the lock file cannot be created, or its file system has no locks.
    """

    def __init__(self, journal: Path) -> None:
        self._path = Path(f"{journal}-lock")
        try:
            self._descriptor = os.open(self._path, _FLAGS, 0o600)
        except OSError as error:
            if error.errno not in {errno.ELOOP, errno.ENXIO, errno.EISDIR}:
                raise
            raise _no_lock(self._path) from None
        try:
            if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                raise _no_lock(self._path)
            is_held = _lock(self._descriptor)
            text = os.read(self._descriptor, _LENGTH + 1)
            if not is_held:
                holder = text.decode("ascii", "replace").strip()
                process = f" (process {holder})" if holder else ""
                summary = f"Another run uses {journal}{process}."
                raise JournalError(summary, remedies=(Remedy.USE_ANOTHER_JOURNAL,))
            if len(text) <= _LENGTH and _IS_LOCK.fullmatch(text):
                os.lseek(self._descriptor, 0, os.SEEK_SET)
                os.write(self._descriptor, f"{os.getpid()}".ljust(_LENGTH - 1).encode() + b"\n")
        except BaseException:
            os.close(self._descriptor)
            raise
        _held.add(self._descriptor)

    def is_at_its_name(self) -> bool:
        """Whether the name of the lock is still that of the locked file."""
        return is_same_file(self._path, os.fstat(self._descriptor))

    def release(self) -> None:
        """Release the lock. In a forked child this does nothing, because the child does not hold it."""
        if self._descriptor in _held:
            _held.discard(self._descriptor)
            os.close(self._descriptor)


def is_same_file(path: Path, opened: os.stat_result) -> bool:
    """Whether a path names the file that was opened."""
    try:
        found = os.stat(path)  # noqa: PTH116 - before each commit returns
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == (opened.st_dev, opened.st_ino)


def _no_lock(path: Path) -> JournalError:
    return JournalError(f"{path} is a link or no regular file.", remedies=(Remedy.REMOVE_FILE.of(path),))


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
