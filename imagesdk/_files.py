"""Anything in: paths, bytes and file objects become :class:`~imagesdk.types.Upload`; reads stay off the loop.

Only the head of a file is read to find out what it is. The rest is read while it is sent, a piece at a time, so
that a retry reads it again and no file is ever held whole. A file object is read from where it stands, left standing
there and never closed. One that cannot seek, such as a pipe, is copied to a temporary file first, for a retry cannot
read it again.
"""

from __future__ import annotations

import inspect
import io
import os
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any, TypeVar, TypeVarTuple, Unpack, cast

import anyio
import anyio.to_thread

from imagesdk._loops import PerLoop, call_soon, running_loop
from imagesdk._protocol.pictures import Pictures
from imagesdk._protocol.requests import Sources
from imagesdk._sniff import HEAD_SIZE, extension, sniff
from imagesdk.errors import InvalidRequestError
from imagesdk.types import Source, Upload

_T = TypeVar("_T")
_Args = TypeVarTuple("_Args")

PIECE = 1024 * 1024
"""Bytes read from a file at a time."""

MAX_SPOOL = 1024 * 1024 * 1024
"""Bytes that a source which cannot seek may have: something has to end one that does not end."""

_THREADS = 16
_FALLBACK = "application/octet-stream"

_threads = PerLoop(lambda: anyio.CapacityLimiter(_THREADS))
_file_objects = threading.Lock()  # two calls may send the same file object


async def on_disk(function: Callable[[Unpack[_Args]], _T], *args: *_Args) -> _T:
    """Run what works with files in one of our own threads, so that a slow disk cannot starve the application's.

    It has ended, or was never begun, when this returns or raises. (asyncio's own cancellation, as by its time-outs,
    goes through shields and would leave the thread behind, to make a file after all were removed.)
    """
    lock, loop, ended = threading.Lock(), running_loop(), anyio.Event()
    begun = over = given_up = False

    def work() -> _T:
        nonlocal begun, over
        with lock:
            if given_up:
                raise RuntimeError("given up")  # nobody is there to be told
            begun = True
        try:
            return function(*args)
        finally:
            with lock:
                over = True
                if given_up:
                    call_soon(loop, ended.set)

    try:
        return await anyio.to_thread.run_sync(work, limiter=_threads.get())
    except BaseException:
        with lock:
            given_up = True
            goes_on = begun and not over
        if goes_on:
            with anyio.CancelScope(shield=True):
                await ended.wait()
        raise


@asynccontextmanager
async def opened_pictures(sources: Sources) -> AsyncGenerator[Pictures, None]:
    """Look at the pictures of a job, and keep what is needed to send them until the block is left.

    Raises:
        InvalidRequestError: something is not a path, bytes or a binary file object.
        OSError: a file cannot be read.
    """
    with ExitStack() as spools:
        yield Pictures(
            images=tuple([await _probe("image", image, spools) for image in sources.images]),
            mask=None if sources.mask is None else await _probe("mask", sources.mask, spools),
            markup=None if sources.markup is None else await _probe("markup", sources.markup, spools),
        )


@asynccontextmanager
async def opened_file(source: Source) -> AsyncGenerator[Upload, None]:
    """Look at a file of any kind, and keep what is needed to send it until the block is left.

    Raises:
        InvalidRequestError: it is not a path, bytes or a binary file object.
        OSError: it cannot be read.
    """
    with ExitStack() as spools:
        yield await _probe("source", source, spools)


async def read_piece(upload: Upload, done: int) -> bytes:
    """Return the next piece of an upload of which ``done`` bytes have been read; empty at its end.

    Raises:
        OSError: the file cannot be read, or is shorter than it was.
    """
    if isinstance(upload.source, bytes):
        return upload.source[done : done + PIECE]
    if done >= upload.size:
        return b""
    piece = await on_disk(_read_piece, upload, done)
    if not piece:
        raise OSError(f"{upload.name} became shorter while it was being sent")
    return piece


def _read_piece(upload: Upload, done: int) -> bytes:
    wanted = min(PIECE, upload.size - done)
    if isinstance(upload.source, Path):
        with upload.source.open("rb") as file:
            file.seek(done)
            return file.read(wanted)
    assert not isinstance(upload.source, bytes)  # noqa: S101 - bytes are never read from a thread
    with _file_objects:
        stood = upload.source.tell()
        upload.source.seek(upload.start + done)
        piece = upload.source.read(wanted)
        upload.source.seek(stood)  # where the next call begins that is given this file
        return piece


async def _probe(param: str, source: Any, spools: ExitStack) -> Upload:
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(cast("bytes", source))
        return _upload(data[:HEAD_SIZE], source=data, size=len(data), name=None)
    if isinstance(source, (str, os.PathLike)):
        path = Path(cast("str", source))
        return await on_disk(_probe_path, path)
    read = getattr(source, "read", None)
    if callable(read) and not inspect.iscoroutinefunction(read):
        found = await on_disk(_probe_file, param, source)
        return found or await _spooled(param, source, spools)
    raise InvalidRequestError(
        f"{param} is a {type(source).__name__}; pass a path, bytes, or a file opened in binary mode.",
        param=param,
        value=type(source).__name__,
        allowed="a path, bytes, bytearray, memoryview or a binary file object",
    )


def _probe_path(path: Path) -> Upload:
    with path.open("rb") as file:
        head = file.read(HEAD_SIZE)
        size = file.seek(0, io.SEEK_END)
    return _upload(head, source=path.absolute(), size=size, name=path.name)


def _probe_file(param: str, source: Any) -> Upload | None:
    """Return the upload of a file object, or ``None`` for one that cannot seek."""
    with _file_objects:
        try:
            start = source.tell()
            size = source.seek(0, io.SEEK_END) - start
            source.seek(start)
        except (AttributeError, OSError, io.UnsupportedOperation):
            return None
        head = source.read(HEAD_SIZE)
        source.seek(start)
    return _upload(_checked(param, head), source=source, size=size, name=_name_of(source), start=start)


async def _spooled(param: str, source: Any, spools: ExitStack) -> Upload:
    """Copy what cannot seek to a file that can.

    A read may wait for ever for the other end of a pipe. Then a cancelled call leaves its thread behind, and takes
    none of those that others need.
    """
    spool: SpooledTemporaryFile[bytes] = SpooledTemporaryFile(max_size=PIECE)  # noqa: SIM115
    spools.callback(spool.close)
    waiting = anyio.CapacityLimiter(1)
    size = 0
    while piece := _checked(
        param, await anyio.to_thread.run_sync(source.read, PIECE, abandon_on_cancel=True, limiter=waiting)
    ):
        size += len(piece)
        if size > MAX_SPOOL:
            raise InvalidRequestError(
                f"{param} is a stream of more than {MAX_SPOOL} bytes.", param=param, value="a stream"
            )
        await on_disk(spool.write, piece)
    spool.seek(0)
    head = spool.read(HEAD_SIZE)
    return _upload(head, source=cast("IO[bytes]", spool), size=size, name=_name_of(source))


def _name_of(source: Any) -> str | None:
    given = getattr(source, "name", None)
    return Path(given).name if isinstance(given, str) else None


def _checked(param: str, data: object) -> bytes:
    if isinstance(data, bytes):
        return data
    raise InvalidRequestError(
        f'{param} is a file opened as text; open it with "rb".',
        param=param,
        value="a text file",
        allowed="a file opened in binary mode",
    )


def _upload(
    head: bytes, *, source: bytes | Path | IO[bytes], size: int, name: str | None, start: int = 0
) -> Upload:
    facts = sniff(head)
    if name is None or facts.media_type is not None:
        # Servers go by the extension as well as by the media type.
        ending = extension(facts.media_type)
        stem = Path(name or "image")
        same = stem.suffix.lower().lstrip(".") in {ending, "jpeg" if ending == "jpg" else ending}
        name = str(stem) if same and name else f"{stem.stem or 'image'}.{ending}"
    return Upload(
        name=name,
        media_type=facts.media_type or _FALLBACK,
        size=size,
        width=facts.width,
        height=facts.height,
        alpha=facts.alpha,
        source=source,
        start=start,
    )
