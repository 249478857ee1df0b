"""An answer that goes on after it has begun: its events, each with its pictures, as they come.

Knows how one streamed exchange goes from its first byte to its end. What the events mean is read in
:mod:`imagesdk._protocol.stream_events`, and whether to try again is the engine's business. Rule: time runs against the
exchange only while it is read, so that no scope of ours is open while the caller works on an event.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import UTC, datetime

import anyio
from attrs import frozen

from imagesdk._engine.call import Call, Result
from imagesdk._engine.request_body import TrackedBody
from imagesdk._engine.response import (
    DecompressedBody,
    ResponseReader,
    exchange_failure,
    parse_response,
    read_body,
)
from imagesdk._engine.sink import ImageSink, discard
from imagesdk._engine.state import CallState, annotate_error
from imagesdk._protocol.api_errors import unreadable_failure
from imagesdk._protocol.responses import ParsedResponse
from imagesdk._protocol.retry import Failure, classify
from imagesdk._protocol.scanner import ImageStart, ScanError, Scanner
from imagesdk._protocol.secret import Secret
from imagesdk._protocol.sse import DataStart, EventStream, Message
from imagesdk._protocol.stream_events import DONE, StreamEvent, is_partial, read_stream_event
from imagesdk._transport.exchange import TransportError, WireResponse
from imagesdk.errors import StreamError
from imagesdk.policies import Caps

_DRAIN = 0.25
"""Seconds that the end of a stream may take to come after its last event, for its connection to be used again."""


@frozen
class StreamItem:
    """An event that is whole, and its pictures."""

    event: StreamEvent
    sink: ImageSink


class StreamAttempt:
    """One attempt whose answer is a stream of events, or turned out to be a whole answer. Made by the engine."""

    def __init__(
        self,
        call: Call[ParsedResponse],
        body: TrackedBody,
        exchange: AbstractAsyncContextManager[WireResponse],
        *,
        caps: Caps,
        key: Secret,
        clock: Callable[[], float],
        until: float | None,
        attempts: int,
        maybe_billed_before: bool,
    ) -> None:
        self.attempts = attempts
        self.maybe_billed_before = maybe_billed_before
        self.plain_response: Result[ParsedResponse] | None = None
        """The answer, from a server that does not stream."""
        self.completed: StreamEvent | None = None
        """The last event, once it has come."""
        self._call = call
        self._body = body
        self._exchange = exchange
        self._caps = caps
        self._key = key
        self._clock = clock
        self._until = until
        self._stack = AsyncExitStack()
        self._response = ResponseReader(Scanner(max_image=caps.image, max_response=caps.response), key=key)
        self._chunks: DecompressedBody | None = None
        self._events = EventStream(max_image=caps.image)
        self._name = ""
        self._sink: ImageSink | None = None
        self._ready: deque[StreamItem | Failure] = deque()
        self._pictures = False
        self._at_end = False
        self._failed = False

    @property
    def headers(self) -> Mapping[str, str]:
        """Those of the answer, without the key."""
        return self._response.headers

    @property
    def response(self) -> ResponseReader:
        """What has come back so far."""
        return self._response

    async def begin(self, on_headers: Callable[[], None]) -> Failure | None:
        """Send the request and read on to the first event; return why that did not come.

        Raises:
            OSError: a local file cannot be read, or the disk refuses.
        """
        answer, failure = self._response, None
        try:
            with anyio.fail_after(self._left()):
                incoming = await self._stack.enter_async_context(self._exchange)
                on_headers()
                answer.begin(incoming)
                if not answer.succeeded or not _is_stream(incoming):
                    return await self._read_whole(incoming)
                self._chunks = DecompressedBody(incoming)
        except (TimeoutError, TransportError) as error:
            origin = self._call.server.origin if self._call.server else ""
            failure = exchange_failure(error, self._body, answer, billed=True, origin=origin)
        except ScanError as problem:
            failure = unreadable_failure(problem, request_id=answer.request_id)
        if failure is not None:
            return failure
        first = await self._next()
        if isinstance(first, Failure):
            return first
        if first is not None:
            self._ready.appendleft(first)
            return None
        return self._ended_early()

    async def next(self) -> StreamItem | Failure | None:
        """Return the next event, or why there is none; ``None`` after the last one.

        Raises:
            OSError: the disk refuses.
        """
        if self.completed is not None or self._failed:
            return None
        found = await self._next()
        if found is None:
            found = self._ended_early()
        if isinstance(found, Failure):
            self._failed = True
        elif found.event.is_last:
            self.completed = found.event
        return found

    async def aclose(self) -> None:
        """End the exchange, and remove what nobody took. A stream that is through leaves its connection for others."""
        # A task may be cancelled by asyncio itself, which goes through shields: each step leaves the next its turn.
        leftover = [item.sink for item in self._ready if isinstance(item, StreamItem)]
        leftover += [self._sink] if self._sink else []
        leftover += [self.plain_response.sink] if self.plain_response and self.completed is None else []
        async with AsyncExitStack() as last:
            for sink in leftover:
                last.push_async_callback(discard, sink)
            last.push_async_callback(self._end_exchange)
            if self.completed is not None and self._chunks is not None:
                with anyio.move_on_after(_DRAIN, shield=True):
                    await self._drain()

    async def _end_exchange(self) -> None:
        with anyio.CancelScope(shield=True):
            await self._stack.aclose()

    def _left(self) -> float | None:
        return None if self._until is None else self._until - self._clock()

    async def _read_whole(self, incoming: WireResponse) -> Failure | None:
        sink = ImageSink(self._call.folder, fsync=self._call.fsync)
        outcome: Result[ParsedResponse] | Failure | None = None
        try:
            await read_body(incoming, self._response, sink)
            await self._stack.aclose()
            outcome = parse_response(
                self._call,
                self._response,
                sink,
                self._key,
                attempts=self.attempts,
                maybe_billed_before=self.maybe_billed_before,
            )
        finally:
            if not isinstance(outcome, Result):
                await discard(sink)
        if isinstance(outcome, Failure):
            return outcome
        self.plain_response = outcome
        return None

    async def _next(self) -> StreamItem | Failure | None:
        try:
            with anyio.fail_after(self._left()):
                while not self._ready and not self._at_end:
                    await self._read_chunk()
        except TimeoutError:
            return self._broken("its time was over")
        except TransportError as error:
            failure = self._broken(str(error))
            failure.error.__cause__ = error.__cause__
            return failure
        except ScanError as problem:
            return unreadable_failure(problem, request_id=self._response.request_id)
        return self._ready.popleft() if self._ready else None

    async def _read_chunk(self) -> None:
        assert self._chunks is not None  # noqa: S101 - set when the stream began
        async for chunk in self._chunks:
            self._response.scanner.count(chunk)
            for item in self._events.feed(chunk):
                if isinstance(item, DataStart):
                    self._name = item.event
                elif isinstance(item, Message):
                    await self._take(item)
                else:
                    if isinstance(item, ImageStart) and self._sink is None:
                        folder = None if is_partial(self._name) else self._call.folder
                        self._sink = ImageSink(folder, fsync=self._call.fsync)
                    if self._sink is not None:
                        await self._sink.write(item)
            return
        self._at_end = True

    async def _take(self, message: Message) -> None:
        """Take an event that is whole; one that means nothing to us is passed over."""
        sink, self._sink = self._sink or ImageSink(None), None
        if message.scanner.rest().strip() == DONE:
            self._at_end = True
            return
        event: StreamEvent | Failure | None = None
        try:
            event = read_stream_event(
                message,
                self._call.request,
                profile=self._call.profile,
                now=datetime.now(UTC),
                seen_images=self._pictures,
                request_id=self._response.request_id,
            )
        finally:
            if not isinstance(event, StreamEvent):
                await discard(sink)
        if isinstance(event, StreamEvent):
            self._pictures = True
            self._ready.append(StreamItem(event, sink))
        elif event is not None:
            self._ready.append(event)

    async def _drain(self) -> None:
        assert self._chunks is not None  # noqa: S101 - only called for a stream
        try:
            async for _ in self._chunks:
                pass
        except (TransportError, ScanError):
            pass  # its picture has come

    def _ended_early(self) -> Failure:
        return self._broken("it ended too early")

    def _broken(self, reason: str) -> Failure:
        error = StreamError(
            f"The stream ended without its image ({reason}).",
            request_id=self._response.request_id,
            maybe_billed=True,
        )
        return Failure(error, classify(error))


def _is_stream(incoming: WireResponse) -> bool:
    """Whether an answer is a stream of events: some servers answer with JSON all the same."""
    kind = incoming.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "text/event-stream"


class EventSource:
    """A stream that has begun: its first event is there. Made by :meth:`Engine.stream`."""

    def __init__(
        self,
        opened: StreamAttempt,
        call: Call[ParsedResponse],
        course: CallState,
        began: float,
        prove: Callable[[int | None], None],
    ) -> None:
        self.opened = opened
        self.began = began
        self.prove = prove
        """Tells the limit that the server took the request, and how many tokens it counted."""
        self.failure: Failure | None = None
        """Why it ended, if not with its picture."""
        self._call = call
        self._course = course

    async def next(self) -> StreamItem | None:
        """Return the next event; ``None`` after the last one.

        Raises:
            APIError: there is none.
            OSError: the disk refuses.
        """
        found = await self.opened.next()
        if isinstance(found, Failure):
            self.failure = found
            raise annotate_error(found.error, self._call, self._course)
        return found
