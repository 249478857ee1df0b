"""Lines of the output file of a batch, with their images in memory or in temporary files, while the file arrives.

A download that breaks off continues behind its last complete line: with a range request, or, if the server ignores the
range, by skipping what was read before. Memory holds one line at a time, without its images.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import anyio
import anyio.lowlevel
from attrs import define, field, frozen

from imagesdk._calls.build import ClientContext
from imagesdk._calls.call_options import new_idempotency_key
from imagesdk._calls.raw import ignore_body
from imagesdk._engine.body_stream import BodyAttempt
from imagesdk._engine.call import Call
from imagesdk._engine.sink import ImageSink, discard
from imagesdk._protocol.batch_output import BatchFileScanner, LineEnd, LineEvent, OutputLine, read_line
from imagesdk._protocol.files_api import file_request
from imagesdk._protocol.scanner import ImageStart
from imagesdk._protocol.secret import NO_KEY, Secret
from imagesdk._runtime.threads import run_blocking
from imagesdk.errors import APIConnectionError, APIError

_MOST_BREAKS: Final = 6
"""Breaks of a download in succession, without a complete line between them, after which it fails."""
_PAUSE: Final = 0.5
_PARTIAL: Final = 206
_UNSATISFIABLE: Final = 416


@frozen
class ReceivedLine:
    """A line, and its images."""

    line: OutputLine
    sink: ImageSink
    """The caller moves its files into place, or discards them."""


@define(eq=False)
class LineReader:
    """Reader of one file. Use it with ``async with``, and call :meth:`next` in the block."""

    context: ClientContext
    file_id: str
    folder: Path | None
    """Folder of the temporary files of the images; ``None`` for memory."""
    owner: str = ""
    fsync: bool = False
    breaks: int = 0
    """Number of times that the download broke off."""
    _exchange: AsyncExitStack = field(factory=AsyncExitStack, init=False)
    _attempt: BodyAttempt | None = field(default=None, init=False)
    _scanner: BatchFileScanner = field(factory=BatchFileScanner, init=False)
    _steps: Iterator[list[LineEvent]] = field(factory=lambda: iter(()), init=False)
    _skip: int = field(default=0, init=False)
    _sink: ImageSink | None = field(default=None, init=False)
    _at_end: bool = field(default=False, init=False)
    _key: Secret = field(default=NO_KEY, init=False)

    @property
    def offset(self) -> int:
        """Bytes of the file that were read as complete lines."""
        return self._scanner.complete

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._close()

    async def next(self) -> ReceivedLine | None:
        """Return the next line, or ``None`` after the last one.

        Raises:
            NotFoundError: If the file is gone.
            APIError: If the file cannot be downloaded.
            OSError: If an image cannot be written.
        """
        failures, offset = 0, self.offset
        while True:
            try:
                return await self._next()
            except APIConnectionError:
                self.breaks += 1
                failures = failures + 1 if self.offset == offset else 1
                offset = self.offset
                await self._close()
                if failures >= _MOST_BREAKS:
                    raise
                await anyio.sleep(_PAUSE * (2 ** (failures - 1) - 1))

    async def _next(self) -> ReceivedLine | None:
        while True:
            await anyio.lowlevel.checkpoint()
            events = next(self._steps, None)
            if events is None:
                if self._at_end:
                    return None
                await self._read()
                continue
            for event in events:
                if isinstance(event, LineEnd):
                    return await self._received(event)
                if isinstance(event, ImageStart) and self._sink is None:
                    self._sink = ImageSink(self.folder, fsync=self.fsync, owner=self.owner)
                if self._sink is not None:
                    await self._sink.write(event)

    async def _received(self, end: LineEnd) -> ReceivedLine:
        """Return a line that has ended. The end of a line is the only event of its step."""
        sink, self._sink = self._sink or ImageSink(None), None
        try:
            if end.scanner.is_large:
                line = await run_blocking(read_line, end, sink.texts, self._key)
            else:
                line = read_line(end, sink.texts, self._key)
        except BaseException:
            await discard(sink)
            raise
        return ReceivedLine(line, sink)

    async def _read(self) -> None:
        """Read the next piece of the file."""
        if self._attempt is None:
            self._attempt = await self._open()
            if self._attempt is None:
                self._at_end = True
                return
        piece = await self._attempt.read()
        if piece is None:
            self._at_end = True
            self._steps = iter([self._scanner.finish()])
            return
        if self._skip:
            skipped = min(self._skip, len(piece))
            self._skip -= skipped
            piece = piece[skipped:]
        self._steps = self._scanner.steps(piece)

    async def _open(self) -> BodyAttempt | None:
        """Ask for the file from the last complete line on; return ``None`` if there is nothing behind it."""
        start = self.offset
        headers = (("range", f"bytes={start}-"),) if start else ()
        defaults = self.context.defaults
        call = Call(
            file_request(self.file_id, "GET", "/content"),
            parse=ignore_body,
            timeouts=defaults.timeouts,
            idempotency_key=new_idempotency_key(),
            headers=headers,
            raw=True,
        )
        try:
            attempt = await self._exchange.enter_async_context(self.context.engine.read(call))
        except APIError as error:
            if start and getattr(error, "status_code", None) == _UNSATISFIABLE:
                return None
            raise
        caps = self.context.engine.caps
        self._scanner = BatchFileScanner(start=start, max_image=caps.image, max_response=caps.response)
        self._key = attempt.key
        self._skip = 0 if attempt.status == _PARTIAL else start
        return attempt

    async def _close(self) -> None:
        """End the exchange, and discard what has arrived of an incomplete line."""
        exchange, self._exchange, self._attempt = self._exchange, AsyncExitStack(), None
        sink, self._sink = self._sink, None
        self._steps = iter(())
        try:
            await exchange.aclose()
        finally:
            if sink is not None:
                await discard(sink)
