"""The sink of the images of a response: memory, or temporary files, which are written in batches by another thread."""

from __future__ import annotations

import io
import os
from pathlib import Path

import anyio
from attrs import define, field

from imagesdk._media.atomic import create_temporary
from imagesdk._media.sniff import HEAD_SIZE, ImageFacts, is_text, sniff
from imagesdk._protocol.scanner import ImageEnd, ImagePiece, ImageStart
from imagesdk._runtime.loops import PerLoop
from imagesdk._runtime.threads import run_blocking
from imagesdk._transport.exchange import RELEASE_LIMIT

_LARGEST_BATCH = 1024 * 1024
_SMALLEST_BATCH = 128 * 1024
_BATCHES_PER_LOOP = 16 * 1024 * 1024
"""Bytes of the batches of all open images of an event loop together."""
TEXT_HEAD = 512
"""Bytes that are enough to tell text from an image."""


@define
class _OpenFiles:
    """The number of images that are being written to files on one event loop."""

    count: int = 0

    def batch_size(self) -> int:
        return max(_SMALLEST_BATCH, min(_LARGEST_BATCH, _BATCHES_PER_LOOP // max(1, self.count)))


_open_files = PerLoop(_OpenFiles)


@define
class ReceivedImage:
    """One image of a response: its bytes, or its temporary file."""

    facts: ImageFacts = field(factory=ImageFacts)
    data: bytes | None = None
    temporary: Path | None = None
    text: str | None = None
    """The beginning of the bytes, if they are a text rather than an image."""


class ImageSink:
    """The images of one response, in memory or in temporary files in ``folder``, synced to disk with ``fsync``."""

    def __init__(self, folder: Path | None, *, fsync: bool = False, owner: str = "") -> None:
        self._folder = folder
        self._owner = owner
        self._fsync = fsync
        self._memory = io.BytesIO()  # grows in place, and gives its value away without a copy
        self._pieces: list[bytes] = []
        self._gathered = 0
        self._head = b""
        self._descriptor: int | None = None
        self._open: _OpenFiles | None = None
        self.images: dict[int, ReceivedImage] = {}
        """The images by their number in the response."""

    async def write(self, event: ImageStart | ImagePiece | ImageEnd) -> None:
        """Write one event of the scanner."""
        if isinstance(event, ImageStart):
            self.images[event.number] = ReceivedImage()
            self._pieces, self._gathered, self._head = [], 0, b""
            self._memory = io.BytesIO()
            if self._folder is not None:
                self._open = _open_files.get()
                self._open.count += 1
                await run_blocking(self._create, self._folder, event.number)
        elif isinstance(event, ImagePiece):
            if len(self._head) < HEAD_SIZE:
                self._head += event.data[:HEAD_SIZE]
            if self._folder is None:
                self._memory.write(event.data)
                return
            self._pieces.append(event.data)
            self._gathered += len(event.data)
            if self._open is not None and self._gathered >= self._open.batch_size():
                pieces, self._pieces, self._gathered = self._pieces, [], 0
                await run_blocking(self._write_batch, pieces)
        else:
            received = self.images[event.number]
            received.facts = sniff(self._head)
            if received.facts.media_type is None and is_text(self._head[:TEXT_HEAD]):
                received.text = self._head[:TEXT_HEAD].decode("utf-8", "replace")
            if self._folder is None:
                received.data = self._memory.getvalue()
                self._memory = io.BytesIO()
            else:
                await run_blocking(self._finish, self._pieces)
                self.leave()
            self._pieces = []

    @property
    def texts(self) -> dict[int, str]:
        """The beginnings of the images that are texts, by their number in the response."""
        return {number: image.text for number, image in self.images.items() if image.text is not None}

    def discard(self) -> None:
        """Remove what was written. Blocks on the disk; may be called at any point."""
        self._close()
        for received in self.images.values():
            if received.temporary is not None:
                received.temporary.unlink(missing_ok=True)

    def _create(self, folder: Path, number: int) -> None:
        self._descriptor, self.images[number].temporary = create_temporary(folder, self._owner)

    def _write_batch(self, pieces: list[bytes]) -> None:
        assert self._descriptor is not None  # noqa: S101 - opened at the start of the image
        for piece in pieces:
            left = memoryview(piece)
            while left:
                left = left[os.write(self._descriptor, left) :]

    def _finish(self, pieces: list[bytes]) -> None:
        self._write_batch(pieces)
        if self._fsync and self._descriptor is not None:
            os.fsync(self._descriptor)
        self._close()

    def leave(self) -> None:
        """Leave the sharing of batch memory on this event loop."""
        if self._open is not None:
            self._open.count -= 1
            self._open = None

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


async def discard(sink: ImageSink) -> None:
    """Remove what a sink holds in a worker thread, even while being cancelled."""
    sink.leave()
    if any(received.temporary for received in sink.images.values()):
        with anyio.move_on_after(RELEASE_LIMIT, shield=True):
            await run_blocking(sink.discard)
    sink.images.clear()
