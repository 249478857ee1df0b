"""Files that appear whole or not at all: temporary file, rename, fsync."""

from __future__ import annotations

import errno
import os
import re
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

_TEMPORARY: Final = ".imagesdk-{}.part"


_IS_TEMPORARY: Final = re.compile(r"\.imagesdk-[0-9a-f]{16}\.part")


_STALE: Final = 24 * 3600.0
"""Seconds since the last write after which nobody can still be writing a temporary file."""


_swept: set[Path] = set()
"""Folders that were looked through for stale files."""


def create_temporary(folder: Path) -> tuple[int, Path]:
    """Create an empty file of ours in ``folder`` (made if missing) and return its descriptor and path.

    The first time in a folder, files that a process left behind when it was killed are removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if folder not in _swept:
        _swept.add(folder)
        _remove_stale(folder)
    path = folder / _TEMPORARY.format(secrets.token_hex(8))
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.open(path, flags, 0o666), path


def _remove_stale(folder: Path) -> None:
    before = time.time() - _STALE
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _IS_TEMPORARY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_mtime < before:
                        Path(entry).unlink()


def move_into_place(temporary: Path, final: Path, *, fsync: bool = False) -> None:
    """Give a whole temporary file its final name, replacing what is there; ``fsync`` makes the name last, too."""
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary.replace(final)
    if fsync:
        _sync_folder(final.parent)


def move_if_free(temporary: Path, final: Path, *, fsync: bool = False) -> None:
    """Give a whole temporary file its final name, unless something is there.

    Raises:
        FileExistsError: something is.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(temporary, final)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(final):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(final)) from None
        temporary.replace(final)
    else:
        temporary.unlink()
    if fsync:
        _sync_folder(final.parent)


def _sync_folder(folder: Path) -> None:
    if hasattr(os, "O_DIRECTORY"):  # elsewhere a folder cannot be opened
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_file(final: Path, data: bytes) -> Path:
    """Write ``data`` to ``final``: whole, or not at all."""
    descriptor, temporary = create_temporary(final.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        move_into_place(temporary, final)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return final
