"""Input files: each :data:`~imagesdk.types.Source` becomes an :class:`~imagesdk.types.Upload` or a ``RemoteImage``.

- Files are read in worker threads. Behind a path is a regular file: a pipe or a device may never give a byte.
- Only the header of a file is read here. The rest is read in pieces while it is sent, and again for a retry, so that no
  file is held in memory as a whole.
- A file object that cannot seek, such as a pipe, or that has an async ``read``, is copied to a temporary file first.
"""

from __future__ import annotations

import inspect
import io
import os
import stat
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any, cast
from weakref import WeakKeyDictionary

import anyio
import anyio.to_thread
import attrs

from imagesdk._engine.request_body import FILE_OBJECT_LOCK, PIECE, open_without_waiting, read_some
from imagesdk._media.pillow import MAX_LOOK, array_as_png, image_as_png, is_array, is_pillow, some_transparent
from imagesdk._media.sniff import HEAD_SIZE, OCTET_STREAM, extension, named_media_type, sniff
from imagesdk._media.source_text import MissingFileError, check_path, decode_data_url, is_url, refused
from imagesdk._media.upload import UNKNOWN_START, named_parts
from imagesdk._protocol.inputs import InputImage, InputImages, RemoteImage
from imagesdk._protocol.parameter_checks import check_text
from imagesdk._protocol.requests import Sources
from imagesdk._runtime.loops import PerLoop
from imagesdk._runtime.reading import run_abandonable
from imagesdk._runtime.threads import nothing_sent, run_blocking
from imagesdk.errors import APITimeoutError, InvalidRequestError
from imagesdk.remedies import Remedy
from imagesdk.types import FileId, FileObject, Image, Source, Upload

MAX_SPOOL = 1024 * 1024 * 1024
"""Maximum size in bytes of a source that cannot seek. It ends the reading of an endless one."""

_RESTORE_SECONDS = 5.0
"""Time limit for restoring the position of a file with an async ``read``."""

_async_file_locks = PerLoop(WeakKeyDictionary[object, anyio.Lock])


@asynccontextmanager
async def open_inputs(
    sources: Sources, *, check_transparency: bool = False
) -> AsyncGenerator[InputImages, None]:
    """Open the input images of a job, and search mask and markup for transparent pixels if that is asked for."""
    with ExitStack() as spools:
        images = tuple([await _open_source("image", image, spools) for image in sources.images])
        mask = None if sources.mask is None else await _open_source("mask", sources.mask, spools)
        markup = None if sources.markup is None else await _open_source("markup", sources.markup, spools)
        if check_transparency:
            mask, markup = await _with_transparency(mask), await _with_transparency(markup)
        yield InputImages(images, mask, markup)


@asynccontextmanager
async def open_file(
    source: Source, seconds: float | None, param: str = "source"
) -> AsyncGenerator[Upload, None]:
    """Open a file of any kind within that time. Temporary files exist until the block ends."""
    with ExitStack() as spools:
        try:
            with nothing_sent("to read the file"), anyio.fail_after(seconds):
                found = await _open_source(param, source, spools)
        except TimeoutError:
            raise APITimeoutError("The file could not be read in time. Nothing was sent.") from None
        if isinstance(found, RemoteImage):
            problem, allowed = f"is {found.name}, and only files can be uploaded", "a path, bytes or a file"
            raise refused(param, problem, found.name, allowed, Remedy.DOWNLOAD_IMAGE)
        yield found


async def _with_transparency(image: InputImage | None) -> InputImage | None:
    if not (isinstance(image, Upload) and image.alpha and image.media_type == "image/png"):
        return image
    if image.size > MAX_LOOK:
        return image
    data = await read_some(image, 0, image.size)
    return attrs.evolve(image, transparent=await run_blocking(some_transparent, data))


async def _open_source(param: str, source: Any, spools: ExitStack) -> InputImage:
    named = named_parts(source)
    content = source if named is None else named.content
    found = await _dispatch(param, content, spools)
    if isinstance(found, RemoteImage):
        return found
    if found.size <= 0:
        raise _empty(param, content, found)
    if named is None:
        return found
    known = None if found.media_type == OCTET_STREAM else found.media_type
    base = Path(named.name or "").name or found.name
    return attrs.evolve(found, name=_file_name(base, known), stated_type=named.media_type)


async def _dispatch(param: str, source: Any, spools: ExitStack) -> InputImage:
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _from_bytes(bytes(cast("bytes", source)))
    if isinstance(source, str) and is_url(source):
        return await _probe_url(param, source)
    if isinstance(source, (str, os.PathLike)):
        path = os.fsdecode(cast("str", source))
        check_path(param, path)
        try:
            return await _probe_path(param, Path(path))
        except FileNotFoundError:
            raise MissingFileError.for_parameter(param, path) from None
    if isinstance(source, (FileId, FileObject)):
        if not isinstance(cast("object", source.id), str) or not source.id:
            raise refused(param, "is a file without an id", source.id, "an id")
        return RemoteImage(file_id=check_text(param, source.id))
    if isinstance(source, Image):
        return await _probe_image(param, source)
    if is_pillow(source):
        return _from_bytes(await run_blocking(image_as_png, param, source))
    if is_array(source):
        return _from_bytes(await run_blocking(array_as_png, param, source))
    if isinstance(source, io.TextIOBase):
        raise _text_mode_error(param)
    read = getattr(source, "read", None)
    if inspect.iscoroutinefunction(read):
        return await _probe_async(param, source, spools)
    if callable(read):
        found = await run_blocking(_probe_file, param, source)
        return found or await _spool(param, source, _in_thread(source), spools)
    allowed = "a path, bytes, a binary file, an image of Pillow, numpy or imagesdk, a URL or a file id"
    kind = type(source).__name__
    raise InvalidRequestError.for_parameter(param, kind, allowed=allowed, shown=f"of type {kind}")


def _empty(param: str, source: object, found: Upload) -> InvalidRequestError:
    if isinstance(found.source, Path):
        problem = f"is an empty file: there is nothing in {str(found.source)!r}"
    elif isinstance(found.source, bytes):
        problem = "is empty: there are no bytes in it"
    elif found.source is not source:
        problem = "gave no bytes: it is empty, or was read before"
    elif found.start:
        return refused(param, "has no bytes left to read", "no bytes", "an image", Remedy.REWIND_FILE)
    else:
        problem = "is an empty file: there are no bytes in it"
    return refused(param, problem, "no bytes", "an image")


async def _probe_url(param: str, url: str) -> InputImage:
    if url[:5].lower() == "data:":
        return _from_bytes(await run_blocking(decode_data_url, param, url))
    return RemoteImage(url=check_text(param, url))


async def _probe_image(param: str, image: Image) -> InputImage:
    if image.path is not None:
        return await _probe_path(param, image.path)
    if image.loaded:
        return _from_bytes(image.bytes)
    if image.url is not None and is_url(image.url):
        return await _probe_url(param, image.url)
    problem = "is an Image without a URL that others could fetch"
    allowed = "an Image with bytes, a file, or an http URL"
    raise refused(param, problem, repr(image), allowed, Remedy.DOWNLOAD_IMAGE)


def _from_bytes(data: bytes) -> Upload:
    return _upload(data[:HEAD_SIZE], source=data, size=len(data), name=None)


def _probe_path(param: str, path: Path) -> Awaitable[Upload]:
    path = path.absolute()
    return run_abandonable(str(path.parent), _probe_path_now, param, path)


def _probe_path_now(param: str, path: Path) -> Upload:
    with open_without_waiting(path) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            problem, allowed = f"is a pipe or a device, {str(path)!r:.200}", "a regular file"
            raise refused(param, problem, str(path), allowed, Remedy.OPEN_PIPE)
        head = file.read(HEAD_SIZE)
        size = file.seek(0, io.SEEK_END)
    return _upload(head, source=path, size=size, name=path.name)


def _probe_file(param: str, source: Any) -> Upload | None:
    """Return the upload of a file object; ``None`` if the file cannot seek."""
    with FILE_OBJECT_LOCK:
        try:
            start = source.tell()
            size = source.seek(0, io.SEEK_END) - start
            source.seek(start)
        except (AttributeError, OSError, io.UnsupportedOperation):
            return None
        try:
            head = source.read(HEAD_SIZE)
        except UnicodeDecodeError:
            raise _text_mode_error(param) from None
        finally:
            source.seek(start)
    return _upload(_require_bytes(param, head), source=source, size=size, name=_name_of(source), start=start)


def _in_thread(source: Any) -> Callable[[], Awaitable[object]]:
    # A read of a pipe may never return. A cancelled call then abandons its thread, which has a limiter of its own.
    limiter = anyio.CapacityLimiter(1)
    return lambda: anyio.to_thread.run_sync(source.read, PIECE, abandon_on_cancel=True, limiter=limiter)


async def _probe_async(param: str, source: Any, spools: ExitStack) -> Upload:
    """Copy a file with an async ``read`` to a temporary file, and restore its position if it can seek."""
    try:
        lock = _async_file_locks.get().setdefault(source, anyio.Lock())
    except TypeError:  # not hashable or no weak references: concurrent calls are up to the owner
        lock = anyio.Lock()
    async with lock:
        position = await _position(source)
        try:
            return await _spool(param, source, lambda: source.read(PIECE), spools)
        finally:
            if position is not None:
                with anyio.move_on_after(_RESTORE_SECONDS, shield=True):
                    await source.seek(position)


async def _position(source: Any) -> int | None:
    """Return the position of a file with an async ``read``; ``None`` if it cannot seek."""
    # Starlette's UploadFile has seek, but tell only on the file inside it.
    tell = getattr(source, "tell", None) or getattr(getattr(source, "file", None), "tell", None)
    if tell is None or not inspect.iscoroutinefunction(getattr(source, "seek", None)):
        return None
    try:
        found = tell()
        position: int = await found if inspect.isawaitable(found) else found
    except OSError:
        return None
    return position


async def _spool(param: str, source: Any, read: Callable[[], Awaitable[object]], spools: ExitStack) -> Upload:
    """Copy a source to a temporary file, which can be read again for a retry."""
    spool: SpooledTemporaryFile[bytes] = SpooledTemporaryFile(max_size=PIECE)  # noqa: SIM115
    spools.callback(spool.close)
    size = 0
    try:
        while piece := _require_bytes(param, await read()):
            size += len(piece)
            if size > MAX_SPOOL:
                raise refused(param, f"is a stream of more than {MAX_SPOOL} bytes", "a stream")
            await run_blocking(spool.write, piece)
    except UnicodeDecodeError:
        raise _text_mode_error(param) from None
    spool.seek(0)
    head = spool.read(HEAD_SIZE)
    return _upload(head, source=cast("IO[bytes]", spool), size=size, name=_name_of(source))


def _name_of(source: Any) -> str | None:
    given = getattr(source, "name", None) or getattr(source, "filename", None)
    return Path(given).name or None if isinstance(given, str) else None


def _require_bytes(param: str, data: object) -> bytes:
    if isinstance(data, bytes):
        return data
    raise _text_mode_error(param)


def _text_mode_error(param: str) -> InvalidRequestError:
    allowed = "a file opened in binary mode"
    return refused(param, "is a file opened as text", "a text file", allowed, Remedy.OPEN_AS_BINARY)


def _upload(
    head: bytes, *, source: bytes | Path | IO[bytes], size: int, name: str | None, start: int = 0
) -> Upload:
    facts = sniff(head)
    width, height = facts.shown or (None, None)
    return Upload(
        name=_file_name(name, facts.media_type),
        media_type=facts.media_type or OCTET_STREAM,
        size=size,
        width=width,
        height=height,
        alpha=facts.alpha,
        source=source,
        start=start,
        cmyk=facts.cmyk,
        several=facts.several,
        unknown_start=b"" if facts.media_type else head[:UNKNOWN_START],
    )


def _file_name(name: str | None, media_type: str | None) -> str:
    if media_type is None:
        return name or "image.png"
    # Servers look at the extension as well as at the media type.
    path = Path(name or "image")
    matches = named_media_type(path.name) == media_type
    return str(path) if matches and name else f"{path.stem or 'image'}.{extension(media_type)}"
