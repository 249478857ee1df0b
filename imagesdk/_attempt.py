"""One attempt: open the exchange, feed the scanner, fill the sink.

Knows how far the request got (:class:`SentBody`) and what came back (:class:`Answer`). Whether to try again is not
its business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Self

import anyio.lowlevel
from attrs import define, field

from imagesdk._files import read_piece
from imagesdk._protocol.encoding import Inflater
from imagesdk._protocol.pictures import AsBase64, Segment
from imagesdk._protocol.scanner import ScanError, Scanner
from imagesdk._sink import Sink
from imagesdk._transport import Outgoing, Transport
from imagesdk.types import Upload


class SentBody:
    """The body of a request that knows how much of itself was taken. It is iterated once.

    ``on_sent`` is called when the last byte has been handed over and the next was asked for. (A class rather
    than a generator, because an exchange may end in its middle and leave it.)
    """

    def __init__(self, segments: Iterable[Segment], length: int, on_sent: Callable[[], None]) -> None:
        self._segments = iter(segments)
        self._upload: Upload | AsBase64 | None = None
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
                if segment is None or isinstance(segment, bytes):
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
class Answer:
    """What one attempt has brought back so far."""

    scanner: Scanner = field(factory=Scanner)
    status: int | None = None
    """``None`` until the head of the answer has come."""
    headers: Mapping[str, str] = field(factory=dict[str, str])
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
                for number, chunk in enumerate(inflater.feed(raw)):
                    if number:  # a little can be inflated to a lot, and others want the loop, too
                        await anyio.lowlevel.checkpoint()
                    for event in answer.scanner.feed(chunk):
                        await sink.take(event)
            inflater.finish()
        except ScanError as error:
            answer.problem = error
