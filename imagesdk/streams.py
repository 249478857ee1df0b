"""The pictures of a stream while they are made. What an event holds is in :mod:`imagesdk.types`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Self, TypeAlias

from imagesdk._engine.call import Call, Result
from imagesdk._engine.sink import ReceivedImage, discard
from imagesdk._engine.stream import EventSource, StreamItem
from imagesdk._protocol.responses import ParsedResponse
from imagesdk._runtime.threads import run_blocking
from imagesdk.errors import StreamError
from imagesdk.types import CompletedImage, Image, ImagesResponse, PartialImage

__all__ = ["AsyncImageStream", "StreamedImage"]

StreamedImage: TypeAlias = PartialImage | CompletedImage
"""What a stream brings: pictures on the way, and last the finished one."""


class AsyncImageStream:
    """A picture while it is made: iterate over it, or ask for its end. Made by ``client.images.generate_stream``.

    Example:
        async with client.images.generate_stream("a river", partial_images=2) as stream:
            async for event in stream:
                print(event.image)
            response = await stream.final()
    """

    def __init__(
        self,
        source: EventSource,
        call: Call[ParsedResponse],
        finish: Callable[[Result[ParsedResponse]], Awaitable[ImagesResponse]],
    ) -> None:
        self._source = source
        self._call = call
        self._finish = finish
        self._final: ImagesResponse | None = None
        self._partial: PartialImage | None = None
        self._reading = False

    @property
    def request_id(self) -> str | None:
        """The server's id of the request: what support asks for."""
        return self._source.opened.headers.get("x-request-id")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamedImage:
        """Wait for the next picture.

        Raises:
            StreamError: the stream ended without its picture.
            APIError: the server says that something is wrong.
            OSError: the finished picture cannot be written.
        """
        if self._reading:
            raise RuntimeError("this stream is being read by another task already")
        self._reading = True
        try:
            event = await self._next()
        except StreamError as error:
            error.partial = self._partial
            raise
        finally:
            self._reading = False
        if event is None:
            raise StopAsyncIteration
        return event

    async def final(self) -> ImagesResponse:
        """Read on to the end, and return what a call without a stream would have returned.

        Raises:
            StreamError: the stream ended without its picture; ``error.partial`` is the last one on the way.
            APIError: the server says that something is wrong.
            OSError: the finished picture cannot be written.
        """
        async for _ in self:
            pass
        if self._final is None:
            raise StreamError(
                "This stream has ended without its image before.",
                request_id=self.request_id,
                attempts=self._source.opened.attempts,
                maybe_billed=True,
                idempotency_key=self._call.idempotency_key,
            )
        return self._final

    async def _next(self) -> StreamedImage | None:
        if self._final is not None:
            return None
        opened = self._source.opened
        edits = self._call.request.path.endswith("/edits")
        completed = "image_edit.completed" if edits else "image_generation.completed"
        if opened.plain_response is not None:
            self._final = await self._finish(opened.plain_response)
            return CompletedImage(self._final, type=completed)
        streamed = await self._source.next()
        if streamed is None:
            return None
        if not streamed.event.is_last:
            self._partial = await _partial(streamed)
            return self._partial
        result: Result[ParsedResponse] = Result(
            streamed.event.parsed,
            opened.headers,
            streamed.sink,
            opened.attempts,
            opened.maybe_billed_before,
        )
        self._final = await self._finish(result)
        named = streamed.event.parsed.type
        return CompletedImage(self._final, type=named if named.endswith(".completed") else completed)


async def _partial(streamed: StreamItem) -> PartialImage:
    parsed = streamed.event.parsed
    entry = parsed.images[0]
    received = streamed.sink.images.get(
        entry.image_ref if entry.image_ref is not None else -1, ReceivedImage()
    )
    try:
        data = received.data
        if received.temporary is not None:  # of an event that said late what it is
            data = await run_blocking(received.temporary.read_bytes)
    finally:
        await discard(streamed.sink)
    return PartialImage(
        image=Image(
            index=0,
            url=entry.url,
            media_type=received.facts.media_type,
            width=received.facts.width,
            height=received.facts.height,
            extra=entry.extra,
            data=data,
        ),
        partial_image_index=parsed.partial_image_index,
        type=parsed.type,
        created=parsed.created,
        size=parsed.size,
        quality=parsed.quality,
        background=parsed.background,
        output_format=parsed.output_format,
        extra=parsed.extra,
    )


AsyncImageStream.__module__ = "imagesdk"
