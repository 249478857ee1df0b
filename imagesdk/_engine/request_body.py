"""The request body of one attempt: reads its segments piece by piece, and tracks how much was sent."""

from __future__ import annotations

import binascii
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Self

from imagesdk._protocol.bodies import Base64Segment, BodySegment
from imagesdk._runtime.threads import run_blocking
from imagesdk.types import Upload


class TrackedBody:
    """A request body, iterated once. ``on_complete`` is called when more is asked for after its last byte.

    A file that contains the ``boundary`` of its form raises ``OSError``: a server would read its rest as other fields.
    It is a class rather than a generator, because an exchange may end halfway and leave it.
    """

    def __init__(
        self,
        segments: Iterable[BodySegment],
        length: int,
        on_complete: Callable[[], None],
        *,
        boundary: bytes | None = None,
    ) -> None:
        self._segments = iter(segments)
        self._boundary = boundary
        self._tail = b""  # of the last piece of a file: the boundary may begin in it
        self._upload: Upload | Base64Segment | None = None
        self._done = 0
        self._left = length
        self._on_complete = on_complete
        self.started = False
        """Whether any byte was sent."""
        self.complete = False
        """Whether the last byte was sent. If not, no server can have worked on the request."""
        self.error: OSError | None = None
        """The error of a local file, if reading one failed."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._next()
        if piece is None:
            self._on_complete()
            raise StopAsyncIteration
        self.started = True
        self._left -= len(piece)
        self.complete = self._left <= 0
        return piece

    async def _next(self) -> bytes | None:
        while True:
            if self._upload is None:
                segment = next(self._segments, None)
                if segment is None or isinstance(segment, bytes):
                    return segment
                self._upload, self._done, self._tail = segment, 0, b""
            try:
                piece = await read_piece(self._upload, self._done)
                if self._boundary is not None and isinstance(self._upload, Upload):
                    self._check(self._upload, piece, self._boundary)
            except OSError as error:
                self.error = error
                raise
            if piece:
                self._done += len(piece)
                return piece
            self._upload = None

    def _check(self, upload: Upload, piece: bytes, boundary: bytes) -> None:
        if isinstance(upload.source, bytes):  # checked when the form was built
            return
        if boundary in piece or boundary in self._tail + piece[: len(boundary)]:
            raise OSError(f"{upload.name} contains {boundary.decode()}, the boundary of its form")
        self._tail = (self._tail + piece if len(piece) < len(boundary) else piece)[1 - len(boundary) :]


PIECE = 1024 * 1024
"""Bytes read from a file at a time."""

FILE_OBJECT_LOCK = threading.Lock()  # two calls may send the same file object


async def read_piece(segment: Upload | Base64Segment, done: int) -> bytes:
    """Return the next piece of a segment of which ``done`` bytes have been read; empty at its end."""
    if isinstance(segment, Upload):
        return await read_some(segment, done, PIECE) if done < segment.size else b""
    # Pieces of a multiple of three bytes, except at the end, can be encoded one by one.
    upload, done, data = segment.upload, done // 4 * 3, b""
    wanted = min(PIECE // 4 * 3, upload.size - done)
    while len(data) < wanted:
        data += await read_some(upload, done + len(data), wanted - len(data))
    return binascii.b2a_base64(data, newline=False)


async def read_some(upload: Upload, done: int, most: int) -> bytes:
    """Return up to ``most`` bytes from position ``done`` on, which is not the end."""
    source = upload.source
    if isinstance(source, bytes):
        piece = read_piece_now(upload, done, most)
    elif isinstance(source, Path):
        from imagesdk._runtime.reading import run_abandonable  # loaded with the sources

        piece = await run_abandonable(str(source.parent), read_piece_now, upload, done, most)
    else:
        piece = await run_blocking(read_piece_now, upload, done, most)
    if not piece:
        raise OSError(f"{upload.name} became shorter while it was being sent")
    return piece


def open_without_waiting(path: Path) -> IO[bytes]:
    """Open a file to read it. A pipe opens at once, also if there is nobody at its other end."""
    return open(path, "rb", opener=_without_waiting)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_piece_now(upload: Upload, done: int, most: int) -> bytes:
    """Return up to ``most`` bytes from position ``done`` on. Blocks on the disk."""
    wanted = min(most, upload.size - done)
    if isinstance(upload.source, bytes):
        return upload.source[done : done + wanted]
    if isinstance(upload.source, Path):
        with open_without_waiting(upload.source) as file:
            file.seek(done)
            return file.read(wanted)
    with FILE_OBJECT_LOCK:
        position = upload.source.tell()
        upload.source.seek(upload.start + done)
        piece = upload.source.read(wanted)
        upload.source.seek(position)  # the next call that is given this file starts there
        return piece
