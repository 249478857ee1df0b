"""Files on remote file systems, through fsspec: complete or absent, and verified. Every function blocks.

==================================  =========================================================================
file system                         how a file appears complete
==================================  =========================================================================
S3, Google Cloud Storage, Azure     written to its final name: an upload is invisible until it is completed
every other                         written to ``.imagesdk-*.part`` in its folder, verified, then moved
==================================  =========================================================================

A file that must not replace another is created with the condition that none exists (mode ``xb``), where the file system
has that. Elsewhere the name is looked up just before.

After the upload, the size is compared, and the MD5 or the ETag where the file system has one. If it is another kind of
hash, as with server-side encryption under a key of the customer, the file is read back and its SHA-256 compared.
"""

from __future__ import annotations

import base64
import binascii
import errno
import hashlib
import os
import re
import secrets
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Final

from attrs import define, frozen

from imagesdk._media.remote_path import RemotePath
from imagesdk.errors import ConfigurationError, ImageSDKError
from imagesdk.remedies import Remedy

_PART: Final = 5 * 1024 * 1024
"""Bytes of a part of an upload, the fewest that S3 takes. An upload holds a few parts at once."""
_PIECE: Final = 512 * 1024
"""Bytes that are read and written at once. A part consists of whole pieces."""
_APPEARS_COMPLETE: Final = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"}
_PROBE: Final = ".imagesdk-probe"
_checked: set[RemotePath] = set()
"""Folders to which this process has written."""
_ERRNO: Final[dict[type[OSError], int]] = {
    FileNotFoundError: errno.ENOENT,
    PermissionError: errno.EACCES,
    FileExistsError: errno.EEXIST,
    NotADirectoryError: errno.ENOTDIR,
    IsADirectoryError: errno.EISDIR,
}


class StoppedError(Exception):
    """The caller of an upload has stopped it. No file was created."""


@frozen
class Content:
    """Identity of the content of a file."""

    sha256: str
    size: int
    tag: str | None = None
    """Hash that the file system has of it: an ETag or an MD5."""


@define
class _Hashes:
    """Hashes of what is written, as file systems compute them."""

    parts: list[bytes]
    sha256: Any
    md5: Any
    of_part: Any
    size: int = 0

    @classmethod
    def new(cls) -> _Hashes:
        return cls([], hashlib.sha256(), _md5(), _md5())

    def update(self, piece: bytes) -> None:
        self.sha256.update(piece)
        self.md5.update(piece)
        self.of_part.update(piece)
        self.size += len(piece)
        if self.size % _PART == 0:
            self.parts.append(self.of_part.digest())
            self.of_part = _md5()

    def tags(self) -> set[str]:
        """Return the MD5, and the ETag that S3 gives an upload in parts."""
        parts = [*self.parts, self.of_part.digest()] if self.size % _PART else self.parts
        return {self.md5.hexdigest(), f"{_md5(b''.join(parts)).hexdigest()}-{len(parts)}"}


def _md5(data: bytes = b"") -> Any:
    return hashlib.md5(data, usedforsecurity=False)


def open_file_system(path: RemotePath) -> tuple[Any, str]:
    """Return the file system of a URL, and the path on it.

    Raises:
        ConfigurationError: If fsspec or the package of the file system is missing, or fsspec does not know it.
    """
    try:
        url_to_fs = import_module("fsspec.core").url_to_fs
    except ModuleNotFoundError as error:
        summary = f"{path} is a URL, and fsspec, which writes to URLs, is not installed."
        raise ConfigurationError(
            summary, param="out", remedies=(Remedy.INSTALL_EXTRA.of("fsspec"),)
        ) from error
    try:
        fs, name = url_to_fs(path.full_url)
    except ImportError as error:
        summary = f"The file system of {path} needs a package that is not installed: {error}."
        raise ConfigurationError(summary, param="out", remedies=(Remedy.INSTALL_FILE_SYSTEM,)) from error
    except ValueError as error:
        summary = path.without_password(f"{path} cannot be opened: {error}.")
        raise ConfigurationError(summary, param="out") from None
    return fs, str(name)


@contextmanager
def _errors_of(path: RemotePath) -> Generator[None, None, None]:
    """Turn each error of a file system into an ``OSError`` that names the URL without a password."""
    try:
        yield
    except (StoppedError, ImageSDKError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - each library has its own
        _checked.clear()
        kind = next((kind for kind in _ERRNO if isinstance(error, kind)), OSError)
        number = _ERRNO.get(kind) or (error.errno if isinstance(error, OSError) else None) or errno.EIO
        text = (getattr(error, "strerror", None) or str(error) or type(error).__name__).rstrip(".")
        clean = path.without_password(text)
        raise kind(number, clean, path.url) from (error if clean == text else None)


def exists(path: RemotePath) -> bool:
    """Return whether there is a file or a folder of that name."""
    fs, name = open_file_system(path)
    with _errors_of(path):
        return _info(fs, name) is not None


def read(path: RemotePath) -> bytes:
    """Return the content of a file."""
    fs, name = open_file_system(path)
    with _errors_of(path):
        return bytes(fs.cat_file(name))


def holds(path: RemotePath, content: Content) -> bool | None:
    """Return whether a file has a content; ``None`` if there is no file.

    It is read, in pieces, if the file system has no hash of it that is known.
    """
    fs, name = open_file_system(path)
    with _errors_of(path):
        info = _info(fs, name)
        if info is None or info.get("type") == "directory":
            return None
        if info.get("size") != content.size:
            return False
        return (content.tag is not None and content.tag in _tags(info)) or _sha256(fs, name) == content.sha256


def check_folder(folder: RemotePath, *, once: bool = False) -> None:
    """Check that files can be written to a folder, with a small file that is removed again.

    Args:
        folder: The folder, which is created if the file system has folders.
        once: Whether to skip a folder that was checked before.

    Raises:
        ConfigurationError: If a package is missing.
        OSError: If the folder cannot be written to.
    """
    if once and folder in _checked:
        return
    fs, name = open_file_system(folder / _PROBE)
    with _errors_of(folder):
        if folder.protocol not in _APPEARS_COMPLETE:
            fs.makedirs(open_file_system(folder)[1], exist_ok=True)
        _info(
            fs, f"{name}-{secrets.token_hex(4)}"
        )  # S3 forbids to ask for a missing object without leave to list
        fs.pipe_file(name, b"probe")
        with suppress(FileNotFoundError):  # another process has removed it
            _remove(fs, name, may_stay=folder.protocol in _APPEARS_COMPLETE)
    _checked.add(folder)


def upload(
    source: Path | bytes,
    final: RemotePath,
    *,
    replace: bool,
    owner: str = "",
    is_stopped: Callable[[], bool] = lambda: False,
) -> Content:
    """Write a file, verify it, and return the identity of its content. It is complete or absent.

    Args:
        source: A file, which is read in pieces, or bytes.
        final: The name of the file.
        replace: Whether a file of that name is replaced.
        owner: The name of the run that writes the file, for a temporary name.
        is_stopped: Called between pieces. If it returns true, nothing is written.

    Raises:
        StoppedError: If ``is_stopped`` returned true.
        FileExistsError: If the name is taken and must not be replaced.
        OSError: If the file cannot be written, or its content is not what was written.
    """
    fs, name = open_file_system(final)
    with _errors_of(final):
        if final.protocol in _APPEARS_COMPLETE:
            return _create(fs, name, source, replace, is_stopped)
        folder, _, _ = name.rpartition("/")
        if folder.strip("/"):
            fs.makedirs(folder, exist_ok=True)
        temporary = f"{folder}/.imagesdk-{owner and f'{owner}-'}{secrets.token_hex(8)}.part"
        try:
            content = _create(fs, temporary, source, True, is_stopped)
            if not replace and _info(fs, name) is not None:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), final.url)
            _move(fs, temporary, name)
        except BaseException:
            with suppress(Exception):
                _remove(fs, temporary, may_stay=True)
            raise
        return content


def remove_left_over(folder: RemotePath, owner: str) -> None:
    """Remove the temporary files of a run whose process was killed. Each image is in a local file as well."""
    if folder.protocol in _APPEARS_COMPLETE:
        return
    is_owned = re.compile(rf"\.imagesdk-{re.escape(owner)}-[0-9a-f]{{16}}\.part")
    fs, name = open_file_system(folder)
    with suppress(Exception):
        for found in fs.ls(name, detail=False):
            last = str(found).rstrip("/").rpartition("/")[2]
            if is_owned.fullmatch(last):
                fs.rm_file(found)


def _create(
    fs: Any, name: str, source: Path | bytes, replace: bool, is_stopped: Callable[[], bool]
) -> Content:
    """Write and verify one file."""
    hashes = _Hashes.new()
    try:
        with BytesIO(source) if isinstance(source, bytes) else source.open("rb") as data:
            _write(fs, name, data, replace, hashes, is_stopped)
    except OSError:
        # A repeated request of the file system may find the file of the one before it.
        if replace or (info := _info(fs, name)) is None:
            raise
        if not _is_same(fs, name, info, hashes):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name) from None
    info = _info(fs, name) or {}
    if not _is_same(fs, name, info, hashes):
        size = info.get("size")
        raise OSError(
            errno.EIO, f"the file has {size} bytes and another content than the {hashes.size} bytes written"
        )
    tags = _tags(info)
    return Content(hashes.sha256.hexdigest(), hashes.size, min(tags) if tags else None)


def _write(
    fs: Any, name: str, data: IO[bytes], replace: bool, hashes: _Hashes, is_stopped: Callable[[], bool]
) -> None:
    file = _opened(fs, name, replace)
    try:
        while piece := data.read(_PIECE):
            if is_stopped():
                raise StoppedError
            file.write(piece)
            hashes.update(piece)
        if is_stopped():
            raise StoppedError
        file.close()
    except BaseException:
        with suppress(Exception):
            file.discard()
        with suppress(Exception):
            file.closed = True  # else its finalizer would complete the upload
        raise


def _opened(fs: Any, name: str, replace: bool) -> Any:
    if not replace:
        try:
            return fs.open(name, "xb", block_size=_PART)
        except (ValueError, NotImplementedError):  # the file system has no such mode
            if _info(fs, name) is not None:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name) from None
    return fs.open(name, "wb", block_size=_PART)


def _move(fs: Any, temporary: str, name: str) -> None:
    try:
        fs.mv(temporary, name)
    except OSError:  # some file systems move to free names only
        if _info(fs, name) is None:
            raise
        fs.rm_file(name)
        fs.mv(temporary, name)


def _remove(fs: Any, name: str, *, may_stay: bool) -> None:
    try:
        fs.rm_file(name)
    except PermissionError:
        if not may_stay:
            raise


def _info(fs: Any, name: str) -> dict[str, Any] | None:
    """Return the facts of a file as they are now; ``None`` if there is none."""
    fs.invalidate_cache(name.rpartition("/")[0])
    try:
        return dict(fs.info(name))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _is_same(fs: Any, name: str, info: dict[str, Any], hashes: _Hashes) -> bool:
    if info.get("size") != hashes.size:
        return False
    tags = _tags(info)
    return not tags or bool(tags & hashes.tags()) or _sha256(fs, name) == hashes.sha256.hexdigest()


def _tags(info: dict[str, Any]) -> set[str]:
    """Return the hashes that a file system has of a file."""
    settings: dict[str, Any] = info.get("content_settings") or {}
    found: list[object] = [
        info.get("ETag"),
        info.get("md5Hash"),
        info.get("content_md5"),
        settings.get("content_md5"),
    ]
    return set(filter(None, map(_hexadecimal, found)))


def _hexadecimal(tag: object) -> str | None:
    if isinstance(tag, (bytes, bytearray)):
        return tag.hex()
    text = tag.strip('"').removeprefix("W/") if isinstance(tag, str) else ""
    if len(text) == 24 and text.endswith("=="):  # base64 of an MD5
        with suppress(binascii.Error):
            return base64.b64decode(text).hex()
    return text or None


def _sha256(fs: Any, name: str) -> str:
    hashed = hashlib.sha256()
    with fs.open(name, "rb", block_size=_PART, cache_type="none") as file:
        while piece := file.read(_PIECE):
            hashed.update(piece)
    return hashed.hexdigest()
