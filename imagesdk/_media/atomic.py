"""Atomic files: a temporary file that is renamed when it is complete, and fsync."""

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
_STALE_SECONDS: Final = 24 * 3600.0
"""Seconds since the last write after which no process is writing a temporary file any more."""

_swept: set[Path] = set()
"""Folders whose stale files were removed."""


def create_temporary(folder: Path) -> tuple[int, Path]:
    """Create an empty temporary file, and its folder if that is missing. Return descriptor and path. Blocks."""
    folder.mkdir(parents=True, exist_ok=True)
    if folder not in _swept:
        _swept.add(folder)
        _remove_stale(folder)  # left behind by killed processes
    path = folder / _TEMPORARY.format(secrets.token_hex(8))
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.open(path, flags, 0o666), path


def _remove_stale(folder: Path) -> None:
    before = time.time() - _STALE_SECONDS
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _IS_TEMPORARY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_mtime < before:
                        Path(entry).unlink()


def move_into_place(temporary: Path, final: Path, *, fsync: bool = False) -> None:
    """Rename a complete temporary file, replacing an existing file. ``fsync`` also syncs the folder. Blocks."""
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary.replace(final)
    if fsync:
        _sync_folder(final.parent)


def move_if_free(temporary: Path, final: Path, *, fsync: bool = False) -> None:
    """Rename a complete temporary file, unless the final name is taken. Blocks."""
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
    """Write ``data`` to ``final``, completely or not at all. Blocks."""
    descriptor, temporary = create_temporary(final.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        move_into_place(temporary, final)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return final
