"""From a good answer to an :class:`ImagesResponse`: pictures moved to their final places, facts gathered.

Where an answer holds only URLs, fetching them is up to :mod:`imagesdk._calls.finishing`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import anyio
from attrs import evolve, frozen

from imagesdk._engine.call import Call, Result
from imagesdk._engine.sink import ReceivedImage, discard
from imagesdk._media.atomic import move_into_place
from imagesdk._media.output import OutputTemplate
from imagesdk._media.sniff import extension
from imagesdk._protocol.hosts import Host
from imagesdk._protocol.responses import ParsedResponse
from imagesdk._runtime.threads import run_blocking
from imagesdk.jobs import Job
from imagesdk.pricing import cost
from imagesdk.types import Image, ImagesResponse

_logger = logging.getLogger("imagesdk")


@frozen
class OutputNames:
    """What the files of one call are called."""

    template: OutputTemplate
    id: str
    slug: str
    fsync: bool = False
    job: int = 0

    def path(self, index: int, ext: str) -> Path:
        """Return where the picture of that place in the response goes."""
        first, path = (
            self.template.path(index=i, job=self.job, id=self.id, slug=self.slug, ext=ext) for i in (0, index)
        )
        surplus = index and path == first  # more pictures came than were asked for
        return path.with_stem(f"{path.stem}-{index}") if surplus else path

    async def move_into_place(self, index: int, received: ReceivedImage) -> Path:
        """Give a temporary file its final name, and return that."""
        path = self.path(index, extension(received.facts.media_type))
        assert received.temporary is not None  # noqa: S101 - only called for files
        with anyio.CancelScope(shield=True):
            await run_blocking(partial(move_into_place, fsync=self.fsync), received.temporary, path)
        received.temporary = None
        return path


async def assemble(
    result: Result[ParsedResponse],
    call: Call[ParsedResponse],
    names: OutputNames | None,
    host: Host,
    job: Job,
) -> ImagesResponse:
    """Give every picture its final name, and every file that is left over back to the disk.

    Raises:
        OSError: a file cannot be moved.
    """
    images: list[Image] = []
    try:
        with anyio.CancelScope(shield=True):
            for image, received in _pictures(result):
                path: Path | None = None
                if received is not None and received.temporary is not None and names is not None:
                    path = await names.move_into_place(image.index, received)
                images.append(evolve(image, path=path))
    finally:
        await discard(result.sink)
    if len(images) != call.request.weight:
        _logger.warning("%d pictures were asked for and %d came", call.request.weight, len(images))
    return _response(result, call, host, job, images)


def describe(
    result: Result[ParsedResponse], call: Call[ParsedResponse], host: Host, job: Job
) -> ImagesResponse:
    """Return what an answer says, before any file has its final name."""
    return _response(result, call, host, job, [image for image, _ in _pictures(result)])


def _pictures(result: Result[ParsedResponse]) -> Iterator[tuple[Image, ReceivedImage | None]]:
    for index, entry in enumerate(result.parsed.images):
        received = None if entry.image_ref is None else result.sink.images.get(entry.image_ref)
        image = Image(
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
        yield image, received


def _response(
    result: Result[ParsedResponse], call: Call[ParsedResponse], host: Host, job: Job, images: Sequence[Image]
) -> ImagesResponse:
    parsed = result.parsed
    return ImagesResponse(
        data=tuple(images),
        created=parsed.created,
        usage=parsed.usage,
        svg_usage=parsed.svg_usage,
        cost=cost(
            call.profile,
            images=len(images),
            size=job.size,
            usage=parsed.usage,
            quality=getattr(job, "quality", None),
            svg=parsed.svg_usage is not None
            or "svg" in {parsed.output_format, getattr(job, "output_format", None)},
            list_price=host.uses_list_prices,
        ),
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
