"""One attempt: open the exchange, feed the scanner, fill the sink.

Knows how far the request got (:class:`SentBody`) and where the pictures of the answer go (:class:`Sink`). Whether
to try again is not its business.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Self

import anyio
import anyio.to_thread
from attrs import define, field

from imagesdk._files import disk_threads, read_piece
from imagesdk._protocol.encoding import Inflater
from imagesdk._protocol.scanner import PictureEnd, PicturePiece, PictureStart, ScanError, Scanner
from imagesdk._saving import create_temporary
from imagesdk._sniff import HEAD_SIZE, PictureFacts, sniff
from imagesdk._transport import RELEASE_LIMIT, Outgoing, Transport
from imagesdk.types import Upload

_BATCH = 1024 * 1024
"""Bytes gathered for one write to disk."""


class SentBody:
    """The body of a request that knows how much of itself was taken. It is iterated once.

    ``on_sent`` is called when the last byte has been handed over and the next was asked for. (A class rather
    than a generator, because an exchange may end in its middle and leave it.)
    """

    def __init__(self, segments: Iterable[bytes | Upload], length: int, on_sent: Callable[[], None]) -> None:
        self._segments = iter(segments)
        self._upload: Upload | None = None
        self._done = 0
        self._left = length
        self._on_sent = on_sent
        self.begun = False
        """Whether anything was taken: if not, the request was never sent."""
        self.whole = False
        """Whether the last byte was taken: if not, no server can have worked on it."""
        self.error: OSError | None = None
        """What went wrong with a local file, if anything did."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._next()
        if piece is None:
            self._on_sent()
            raise StopAsyncIteration
        self.begun = True
        self._left -= len(piece)
        self.whole = self._left <= 0
        return piece

    async def _next(self) -> bytes | None:
        while True:
            if self._upload is None:
                segment = next(self._segments, None)
                if not isinstance(segment, Upload):
                    return segment
                self._upload, self._done = segment, 0
            try:
                piece = await read_piece(self._upload, self._done)
            except OSError as error:
                self.error = error
                raise
            if piece:
                self._done += len(piece)
                return piece
            self._upload = None


@define
class Received:
    """One picture of an answer: its bytes, or the temporary file they went to."""

    facts: PictureFacts = field(factory=PictureFacts)
    data: bytes | None = None
    temporary: Path | None = None


class Sink:
    """Takes the pictures of one answer, into memory or into temporary files in ``folder``."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._pieces: list[bytes] = []
        self._gathered = 0
        self._head = b""
        self._descriptor: int | None = None
        self.pictures: dict[int, Received] = {}
        """By their number in the answer."""

    async def take(self, event: PictureStart | PicturePiece | PictureEnd) -> None:
        """Take one event of the scanner.

        Raises:
            OSError: the disk refuses.
        """
        if isinstance(event, PictureStart):
            self.pictures[event.number] = Received()
            self._pieces, self._gathered, self._head = [], 0, b""
            if self._folder is not None:
                await anyio.to_thread.run_sync(self._create, event.number, limiter=disk_threads())
        elif isinstance(event, PicturePiece):
            if len(self._head) < HEAD_SIZE:
                self._head += event.data[:HEAD_SIZE]
            self._pieces.append(event.data)
            self._gathered += len(event.data)
            if self._folder is not None and self._gathered >= _BATCH:
                await self._flush()
        else:
            received = self.pictures[event.number]
            received.facts = sniff(self._head)
            if self._folder is None:
                received.data = b"".join(self._pieces)
            else:
                await self._flush()
                await anyio.to_thread.run_sync(self._close, limiter=disk_threads())
            self._pieces = []

    def discard(self) -> None:
        """Remove what was written. Blocks for moments; safe to call at any point."""
        self._close()
        for received in self.pictures.values():
            if received.temporary is not None:
                received.temporary.unlink(missing_ok=True)
        self.pictures.clear()

    def _create(self, number: int) -> None:
        assert self._folder is not None  # noqa: S101 - only called for files
        self._descriptor, self.pictures[number].temporary = create_temporary(self._folder)

    async def _flush(self) -> None:
        pieces, self._pieces, self._gathered = self._pieces, [], 0
        await anyio.to_thread.run_sync(self._write, pieces, limiter=disk_threads())

    def _write(self, pieces: list[bytes]) -> None:
        assert self._descriptor is not None  # noqa: S101 - opened when the picture began
        left = memoryview(b"".join(pieces))
        while left:
            left = left[os.write(self._descriptor, left) :]

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


@define
class Answer:
    """What one attempt has brought back so far."""

    status: int | None = None
    """``None`` until the head of the answer has come."""
    headers: Mapping[str, str] = field(factory=dict[str, str])
    scanner: Scanner = field(factory=Scanner)
    problem: ScanError | None = None
    """Why the body cannot be read, if it cannot."""

    @property
    def succeeded(self) -> bool:
        """Whether the status says that the work was done."""
        return self.status is not None and 200 <= self.status < 300


async def receive(
    transport: Transport, request: Outgoing, answer: Answer, sink: Sink, *, on_headers: Callable[[], None]
) -> None:
    """Make one exchange, filling ``answer``, and put the pictures into ``sink``.

    Raises:
        WireError: the exchange broke.
        OSError: the disk refuses.
    """
    async with transport.exchange(request) as incoming:
        on_headers()
        answer.status, answer.headers = incoming.status, incoming.headers
        try:
            inflater = Inflater(incoming.headers.get("content-encoding"))
            async for raw in incoming.body:
                for chunk in inflater.feed(raw):
                    for event in answer.scanner.feed(chunk):
                        await sink.take(event)
            inflater.finish()
        except ScanError as error:
            answer.problem = error


async def discard(sink: Sink) -> None:
    """Remove what a failed attempt wrote, off the loop, even while being cancelled."""
    if any(received.temporary for received in sink.pictures.values()):
        with anyio.move_on_after(RELEASE_LIMIT, shield=True):
            await anyio.to_thread.run_sync(sink.discard, limiter=disk_threads())
    sink.pictures.clear()
