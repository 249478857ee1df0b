"""Streams of images: partial images while the server makes an image, then the finished one.

The fields of an event are described in :mod:`imagesdk.types`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Self, TypeAlias

from imagesdk._engine.call import Call, Result
from imagesdk._engine.sink import ReceivedImage, discard
from imagesdk._engine.stream import StreamAttempt, StreamItem
from imagesdk._protocol.responses import ParsedResponse
from imagesdk._runtime.threads import run_blocking
from imagesdk.errors import StreamError
from imagesdk.types import CompletedImage, Image, ImagesResponse, PartialImage

__all__ = ["AsyncImageStream", "StreamedImage"]

StreamedImage: TypeAlias = PartialImage | CompletedImage
"""An event of a stream: partial images, and last the finished image."""


class AsyncImageStream:
    """An open stream of one image, made by ``client.images.generate_stream`` and ``edit_stream``.

    Example:
        ```python
        async with client.images.generate_stream("a river", partial_images=2) as stream:
            async for event in stream:
                print(event.image)
            response = await stream.final()
        ```
    """

    def __init__(
        self,
        attempt: StreamAttempt,
        call: Call[ParsedResponse],
        finish: Callable[[Result[ParsedResponse]], Awaitable[ImagesResponse]],
    ) -> None:
        self._attempt = attempt
        self._finish = finish
        edits = call.request.path.endswith("/edits")
        self._completed_type = "image_edit.completed" if edits else "image_generation.completed"
        self._final: ImagesResponse | None = None
        self._partial: PartialImage | None = None
        self._reading = False
        self._ended = False

    @property
    def request_id(self) -> str | None:
        """The server's id of the request, which OpenAI's support asks for."""
        return self._attempt.request_id

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamedImage:
        """Wait for the next event.

        Raises:
            StreamError: If the stream ends without its finished image.
            APIError: If the server reports an error.
            OSError: If the finished image cannot be written.
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
        """Read to the end, and return the response of a call without a stream.

        Raises:
            StreamError: If the stream ends without its finished image. ``error.partial`` is the last partial image.
            APIError: If the server reports an error.
            OSError: If the finished image cannot be written.
        """
        async for _ in self:
            pass
        if self._final is None:
            raise self._attempt.ended_before()
        return self._final

    async def _next(self) -> StreamedImage | None:
        if self._ended:
            return None
        item: StreamItem | None = None
        if self._attempt.result is None:  # else the server does not stream, and has answered as a whole
            item = await self._attempt.next()
        if item is not None and not item.event.is_last:
            self._partial = await _partial(item)
            return self._partial
        self._ended = True
        if self._attempt.result is None:
            return None
        self._final = await self._finish(self._attempt.result)
        event_type = None if item is None else item.event.parsed.type
        if event_type is None or not event_type.endswith(".completed"):
            event_type = self._completed_type
        return CompletedImage(self._final, type=event_type)


async def _partial(item: StreamItem) -> PartialImage:
    parsed = item.event.parsed
    entry = parsed.images[0]
    received = item.sink.images.get(entry.image_ref if entry.image_ref is not None else -1, ReceivedImage())
    try:
        data = received.data
        if received.temporary is not None:  # of an event that named its type after its image
            data = await run_blocking(received.temporary.read_bytes)
    finally:
        await discard(item.sink)
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
