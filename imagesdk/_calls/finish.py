"""Results to responses: final file names, prices, and download of images that the server returned as URLs.

Downloads are retried on their own. A failed download never causes a second generation.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import anyio
import attrs

from imagesdk._calls.build import ClientContext, PreparedCall, price_of
from imagesdk._calls.call_options import deadline_of, timeouts_of
from imagesdk._calls.file_names import OutputNames, check_target, write_target
from imagesdk._engine.call import Call, Result
from imagesdk._engine.download import Downloader
from imagesdk._engine.sink import ImageSink, ReceivedImage, discard
from imagesdk._media.output import OutputPath
from imagesdk._protocol.hosts import Host
from imagesdk._protocol.responses import ParsedResponse
from imagesdk._runtime.threads import run_blocking
from imagesdk.errors import DownloadError, excerpt
from imagesdk.policies import Timeouts
from imagesdk.types import Image, ImagesResponse

_logger = logging.getLogger("imagesdk")


async def finish(
    result: Result[ParsedResponse], prepared: PreparedCall, context: ClientContext
) -> ImagesResponse:
    """Return the response to a single call, with every image on disk where files were requested."""
    if prepared.names is None:
        try:
            return describe(result, prepared, context.host)
        finally:
            await discard(result.sink)
    response = await place_images(describe(result, prepared, context.host), result, prepared.names)
    return await fetch_missing(response, prepared.names, prepared.call, context.downloader)


def describe(result: Result[ParsedResponse], prepared: PreparedCall, host: Host) -> ImagesResponse:
    """Return the response as the server sent it, before any file has its final name."""
    parsed, call, job = result.parsed, prepared.call, prepared.job
    images = tuple(
        Image(
            index=index,
            url=entry.url,
            media_type=received.facts.media_type if received else None,
            width=received.facts.width if received else None,
            height=received.facts.height if received else None,
            revised_prompt=entry.revised_prompt,
            expires_at=entry.expires_at,
            extra=entry.extra,
            data=received.data if received else None,
        )
        for index, entry in enumerate(parsed.images)
        for received in [_received(result, index)]
    )
    if len(images) != call.request.weight:
        reasons = "; ".join(filter(None, dict.fromkeys(parsed.missing)))
        shown = f" ({excerpt(reasons, 300)})" if reasons else ""
        _logger.warning("%d images were requested and %d arrived%s", call.request.weight, len(images), shown)
    return ImagesResponse(
        data=images,
        missing=max(0, call.request.weight - len(images)),
        created=parsed.created,
        usage=parsed.usage,
        svg_usage=parsed.svg_usage,
        cost=price_of(call.profile, job, host, parsed, batch=prepared.batch),
        request_id=result.headers.get("x-request-id"),
        size=parsed.size,
        quality=parsed.quality,
        background=parsed.background,
        output_format=parsed.output_format,
        safety_identifier=parsed.safety_identifier,
        attempts=result.attempts,
        maybe_billed_before=result.maybe_billed_before,
        idempotency_key=call.idempotency_key,
        headers=result.headers,
        extra=parsed.extra,
    )


async def place_images(
    response: ImagesResponse, result: Result[ParsedResponse], names: OutputNames | None
) -> ImagesResponse:
    """Move the files of a result to their final names, remove the others, and return the response with paths.

    Raises:
        OSError: If a file cannot be moved. The others are moved all the same.
    """
    images: list[Image] = []
    problem: OSError | None = None
    try:
        with anyio.CancelScope(shield=names is None or not names.is_remote):
            for image in response.data:
                received = _received(result, image.index)
                placed = image
                if received is not None and received.temporary is not None and names is not None:
                    try:
                        placed = at(image, await names.move_into_place(image.index, received))
                    except OSError as error:
                        if problem is not None:
                            problem.add_note(str(error))
                        problem = problem or error
                images.append(placed)
    except anyio.get_cancelled_exc_class():
        if names is not None and names.is_recorded:  # the next run uploads them
            result.sink.images.clear()
        raise
    finally:
        await discard(result.sink)
    if problem is not None:
        raise problem
    return attrs.evolve(response, data=tuple(images))


async def fetch_missing(
    response: ImagesResponse, names: OutputNames | None, call: Call[ParsedResponse], downloader: Downloader
) -> ImagesResponse:
    """Download the images that are only URLs: to files, or into memory if ``names`` is ``None``."""
    images = list(response.data)
    for position, image in enumerate(images):
        if image.loaded or image.url is None:
            continue
        sink = ImageSink(
            names.template.temporary_folder if names else None, fsync=call.fsync, owner=call.owner
        )
        try:
            received = await fetch(downloader, image.url, sink, call.timeouts, call.deadline)
            place = await names.move_into_place(image.index, received) if names else None
        except DownloadError as error:
            error.response = attrs.evolve(response, data=tuple(images))
            raise
        finally:
            await discard(sink)
        fetched = attrs.evolve(with_facts(image, received), data=received.data)
        images[position] = fetched if place is None else at(fetched, place)
    return attrs.evolve(response, data=tuple(images))


def at(image: Image, place: OutputPath) -> Image:
    """Return an image that is in a file."""
    return attrs.evolve(image, path=place) if isinstance(place, Path) else attrs.evolve(image, remote=place)


def with_facts(image: Image, received: ReceivedImage) -> Image:
    """Return an image with the facts of its download."""
    facts = received.facts
    return attrs.evolve(image, media_type=facts.media_type, width=facts.width, height=facts.height)


async def fetch(
    downloader: Downloader, url: str, sink: ImageSink, timeouts: Timeouts, deadline: float | None
) -> ReceivedImage:
    """Download one image into ``sink``, within the time-out of an attempt and the deadline of the call."""
    left = None if deadline is None else max(0.0, deadline - time.monotonic())
    limits = [seconds for seconds in (timeouts.attempt, left) if seconds is not None]
    return await downloader.fetch(
        url, sink, connect_timeout=timeouts.connect, timeout=min(limits) if limits else None
    )


async def download(
    context: ClientContext,
    image: Image | str,
    to: str | os.PathLike[str] | None,
    timeout: float | Timeouts | None,
) -> bytes:
    """Return the bytes of an image or a URL, and write them to a file if ``to`` is given."""
    index = 0 if isinstance(image, str) else image.index
    if to is not None:
        await check_target(to, index)
    url = image if isinstance(image, str) else image.url
    if not isinstance(image, str) and (image.loaded or url is None):
        data = await run_blocking(lambda: image.bytes)
    else:
        assert url is not None  # noqa: S101 - an image without bytes has one
        timeouts = timeouts_of(context.defaults, timeout)
        received = await fetch(context.downloader, url, ImageSink(None), timeouts, deadline_of(timeouts))
        data = received.data or b""
    if to is not None:
        await write_target(data, to, index)
    return data


def _received(result: Result[ParsedResponse], index: int) -> ReceivedImage | None:
    image_ref = result.parsed.images[index].image_ref
    return None if image_ref is None else result.sink.images.get(image_ref)
