"""Atomic files: a temporary file that is renamed when it is complete, and fsync.

A temporary file may hold a paid image. So only the run that owns it, as holder of the lock of its journal, removes one
that a killed process has left behind, and only if its journal does not name it. Single calls remove only their own files.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Container
from contextlib import suppress
from pathlib import Path


def create_temporary(folder: Path, owner: str = "") -> tuple[int, Path]:
    """Create an empty temporary file, and its folder if that is missing. Return descriptor and path. Blocks.

    ``owner`` is the name of the run that writes the file, in hexadecimal digits; empty for a single call.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".imagesdk-{owner and f'{owner}-'}{secrets.token_hex(8)}.part"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.open(path, flags, 0o666), path


def remove_left_over(folder: Path, owner: str, keep: Container[str]) -> None:
    """Remove the temporary files of a run that no process writes any more, except the names in ``keep``. Blocks."""
    is_owned = re.compile(rf"\.imagesdk-{re.escape(owner)}-[0-9a-f]{{16}}\.part")
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if is_owned.fullmatch(entry.name) and entry.name not in keep:
                with suppress(OSError):
                    if entry.is_file(follow_symlinks=False):
                        Path(entry).unlink()


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, unless they exist. Blocks.

    Raises:
        NotADirectoryError: If a file or a link without a target has the name of a folder.
        OSError: If a folder cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), error.filename) from None


def move_into_place(temporary: Path, final: Path, *, fsync: bool = False) -> None:
    """Rename a complete temporary file, replacing an existing file. ``fsync`` also syncs the folder. Blocks."""
    make_folder(final.parent)
    temporary.replace(final)
    if fsync:
        _sync_folder(final.parent)


def move_if_free(temporary: Path, final: Path, *, fsync: bool = False) -> None:
    """Rename a complete temporary file, unless the final name is taken. Blocks.

    Raises:
        FileExistsError: If the final name is taken. No other failure raises this type.
        OSError: If the file cannot be moved. The temporary file is kept.
    """
    make_folder(final.parent)
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
