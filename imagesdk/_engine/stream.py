"""An attempt whose response is a stream of events: reads events one by one, each with its images.

The attempt's time-out runs only while the stream is read, so that no cancel scope is open while the caller works on an
event. The events are parsed in :mod:`imagesdk._protocol.stream_events`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import ClassVar

import anyio
import anyio.lowlevel
from attrs import evolve, frozen

from imagesdk._engine.attempt import Attempt
from imagesdk._engine.call import Result
from imagesdk._engine.config import EngineConfig, EngineShared
from imagesdk._engine.redaction import redact_error
from imagesdk._engine.response import DecompressedBody, media_type_of, reason_of
from imagesdk._engine.sink import ImageSink, discard
from imagesdk._engine.state import CallState
from imagesdk._protocol.api_errors import unreadable_failure
from imagesdk._protocol.responses import ParsedResponse
from imagesdk._protocol.retry import Failure, classify
from imagesdk._protocol.scanner import ImageStart, ScanError
from imagesdk._protocol.sse import DataStart, EventStream, Item, Message
from imagesdk._protocol.stream_events import DONE, StreamEvent, is_partial, read_stream_event
from imagesdk._runtime.threads import lacking, run_blocking
from imagesdk._transport.exchange import TransportError, WireResponse
from imagesdk.errors import APIError, StreamError

_DRAIN_SECONDS = 0.25
"""Seconds to wait for the end of a stream after its last event, so that its connection can be used again."""


@frozen
class StreamItem:
    """One event of a stream, and its images."""

    event: StreamEvent
    sink: ImageSink


class StreamAttempt(Attempt[ParsedResponse]):
    """One attempt that asks for a stream. It stays open from the first event until :meth:`aclose`.

    Some servers answer with JSON all the same: then ``result`` is set before any event is read.
    """

    accept: ClassVar[str] = "text/event-stream, application/json"
    stays_open: ClassVar[bool] = True
    result: Result[ParsedResponse] | None
    failure: Failure | None

    def __init__(self, shared: EngineShared, config: EngineConfig, state: CallState[ParsedResponse]) -> None:
        super().__init__(shared, config, state)
        self._chunks: DecompressedBody | None = None
        self._events = EventStream(max_image=config.caps.image, images=self._call.request.weight)
        self._steps: Iterator[list[Item]] = iter(())
        self._step: list[Item] | None = None
        """The next step of the current chunk."""
        self._event_name = ""
        self._event_sink: ImageSink | None = None
        self._ready: deque[StreamItem | Failure] = deque()
        self._seen_images = False
        self._at_end = False

    @property
    def request_id(self) -> str | None:
        return self._reader.request_id

    async def next(self) -> StreamItem | None:
        """Return the next event; ``None`` after the last one, which is also in ``result``."""
        if self.result is not None or self.failure is not None:
            return None
        item = await self._next()
        if isinstance(item, Failure):
            self.failure = item
            redact_error(item.error, self._reader.key)
            raise self._state.annotate(item.error)
        if item.event.is_last:
            headers, billed_before = self._reader.headers, self._state.maybe_billed_before
            self.result = Result(item.event.parsed, headers, item.sink, self._number, billed_before)
        return item

    def ended_before(self) -> APIError:
        """Return the error of asking for the last event of a stream that failed before."""
        return self._state.annotate(self._stream_error("This stream has ended without its image before."))

    async def _receive(self, response: WireResponse) -> None:
        if not self._reader.succeeded or media_type_of(response.headers) != "text/event-stream":
            await super()._receive(response)
            return
        self._chunks = self._open_chunks(response)

    async def _conclude(self) -> Failure | None:
        """Read the first event, or parse a response that is no stream."""
        if self._chunks is None:
            return await super()._conclude()
        first = await self._next()
        self._was_answered = True
        if isinstance(first, Failure):
            return first
        self._ready.appendleft(first)
        return None

    async def _next(self) -> StreamItem | Failure:
        try:
            with anyio.fail_after(self._seconds_left()):
                while not self._ready and not self._at_end:
                    await self._read_step()
        except TimeoutError:
            return self._ended_early("its time was over")
        except TransportError as error:
            failure = self._ended_early(reason_of(error, self._reader.key))
            failure.error.__cause__ = error.__cause__
            return failure
        except ScanError as problem:
            return unreadable_failure(problem, status=self._reader.status, request_id=self._reader.request_id)
        except (MemoryError, RuntimeError) as error:
            if (lack := lacking(error)) is None:
                raise
            return evolve(self._ended_early(f"this machine has {lack}"), should_retry=False)
        return self._ready.popleft() if self._ready else self._ended_early("it ended too early")

    async def _read_step(self) -> None:
        """Handle the next step of a chunk, or of the next chunk. A cancelled step is not lost."""
        assert self._chunks is not None  # noqa: S101 - only called for a stream
        if self._step is not None:
            await anyio.lowlevel.checkpoint()  # a chunk may hold many events: let other tasks run in between
        else:
            async for chunk in self._chunks:
                self._reader.scanner.count(chunk)
                self._steps = self._events.steps(chunk)
                self._step = next(self._steps, None)
                break
            else:
                self._at_end = True
        for item in self._step or ():
            await self._handle(item)
        self._step = next(self._steps, None)

    async def _handle(self, item: Item) -> None:
        if isinstance(item, DataStart):
            self._event_name = item.event
        elif isinstance(item, Message):
            await self._take(item)
        else:
            if isinstance(item, ImageStart) and self._event_sink is None:
                folder = None if is_partial(self._event_name) else self._call.folder
                self._event_sink = ImageSink(folder, fsync=self._call.fsync)
            if self._event_sink is not None:
                await self._event_sink.write(item)

    async def _take(self, message: Message) -> None:
        """Parse a complete event and queue it. Events of unknown types are skipped."""
        sink, self._event_sink = self._event_sink or ImageSink(None), None
        if message.scanner.rest().strip() == DONE:
            self._at_end = True
            return
        event: StreamEvent | Failure | None = None
        try:
            parse = partial(self._parse, message, sink.texts)
            event = await run_blocking(parse) if message.scanner.is_large else parse()
        finally:
            if not isinstance(event, StreamEvent):
                await discard(sink)
        if isinstance(event, StreamEvent):
            self._seen_images = True
            self._ready.append(StreamItem(event, sink))
        elif event is not None:
            self._ready.append(event)

    def _parse(self, message: Message, texts: Mapping[int, str]) -> StreamEvent | Failure | None:
        return read_stream_event(
            message,
            self._call.request,
            profile=self._call.profile,
            now=datetime.now(UTC),
            seen_images=self._seen_images,
            request_id=self._reader.request_id,
            key=self._reader.key,
            is_openai=self._shared.host.is_openai,
            texts=texts,
        )

    async def _release(self) -> None:
        try:
            if self.result is not None and self._chunks is not None:
                with anyio.move_on_after(_DRAIN_SECONDS, shield=True), suppress(TransportError, ScanError):
                    async for _ in self._chunks:  # the last event was received
                        pass
        finally:
            await super()._release()

    def _unclaimed_sinks(self) -> list[ImageSink]:
        sinks = [self._sink, *(item.sink for item in self._ready if isinstance(item, StreamItem))]
        return sinks if self._event_sink is None else [*sinks, self._event_sink]

    def _abandoned(self) -> Failure:
        if not self._was_accepted:
            return super()._abandoned()
        error = StreamError("The stream was left before its end.", maybe_billed=True)
        return Failure(error, classify(error))

    def _ended_early(self, reason: str) -> Failure:
        return Failure(self._stream_error(f"The stream ended without its image ({reason})."), "unreadable")

    def _stream_error(self, message: str) -> StreamError:
        return StreamError(message, request_id=self._reader.request_id, maybe_billed=True)
