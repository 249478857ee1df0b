"""``client.images``: make, edit and vary pictures, and fetch the results.

The named methods build a job and hand it to :meth:`AsyncImages.send`, which does the work: checks, pictures in,
the engine, pictures out. The parameters of the API are documented in :mod:`imagesdk.jobs`.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Unpack
from urllib.parse import urlencode

import anyio
import attrs
from attrs import frozen

from imagesdk import models
from imagesdk._download import Downloader
from imagesdk._engine import Call, Engine
from imagesdk._files import on_disk, opened_pictures
from imagesdk._protocol import checks, requests
from imagesdk._protocol.hosts import checked_headers
from imagesdk._protocol.responses import parse_success
from imagesdk._results import FileNames, assemble
from imagesdk._retirement import warn_of_retirement
from imagesdk._saving import Destination, check_writable, slug
from imagesdk._sink import Received, Sink, discard
from imagesdk._sniff import HEAD_SIZE, sniff
from imagesdk.errors import APITimeoutError, DownloadError, InvalidRequestError
from imagesdk.jobs import (
    Background,
    CallOptions,
    Complexity,
    Edit,
    Generate,
    InputFidelity,
    Job,
    Moderation,
    OutputFormat,
    Quality,
    ResponseFormat,
    Size,
    Style,
    Svg,
    Variation,
)
from imagesdk.policies import Timeouts
from imagesdk.types import Image, ImagesResponse, Source

_logger = logging.getLogger("imagesdk")

_OPTIONS = frozenset(CallOptions.__annotations__)
_ELSEWHERE = {
    "max_retries": "retries are a policy of the client: AsyncClient(retry=RetryPolicy(max_attempts=...))",
    "stream": "this method returns whole pictures",
}


@frozen
class Defaults:
    """What the client says where a call says nothing."""

    timeouts: Timeouts
    check: bool
    fsync: bool


class AsyncImages:
    """The Images API. Made by the client: ``client.images``."""

    def __init__(self, engine: Engine, downloader: Downloader, defaults: Defaults) -> None:
        self._engine = engine
        self._downloader = downloader
        self._defaults = defaults

    async def generate(
        self,
        prompt: str,
        *,
        model: str | None = None,
        n: int | None = None,
        size: Size | None = None,
        quality: Quality | None = None,
        background: Background | None = None,
        output_format: OutputFormat | None = None,
        output_compression: int | None = None,
        moderation: Moderation | None = None,
        style: Style | None = None,
        complexity: Complexity | None = None,
        frame_count: int | None = None,
        frame_duration_ms: int | None = None,
        svg: Svg | None = None,
        response_format: ResponseFormat | None = None,
        safety_identifier: str | None = None,
        user: str | None = None,
        **options: Unpack[CallOptions],
    ) -> ImagesResponse:
        """Make pictures from a prompt.

        The more detail in the prompt, the likelier the result is what you had in mind; smaller pictures are
        faster. The parameters are those of :class:`Generate`, the options those of :class:`CallOptions`.

        Example:
            response = await client.images.generate("a white siamese cat", n=2, out="cats/")

        Raises:
            InvalidRequestError: a parameter breaks a rule of the model; nothing was sent.
            ModerationError: the content filter refused the prompt.
            APIError: it failed in another way; ``maybe_billed`` tells about money.
        """
        job = Generate(
            prompt,
            model=model,
            n=n,
            size=size,
            quality=quality,
            background=background,
            output_format=output_format,
            output_compression=output_compression,
            moderation=moderation,
            style=style,
            complexity=complexity,
            frame_count=frame_count,
            frame_duration_ms=frame_duration_ms,
            svg=svg,
            response_format=response_format,
            safety_identifier=safety_identifier,
            user=user,
        )
        return await self.send(job, **options)

    async def edit(
        self,
        image: Source | Sequence[Source],
        prompt: str,
        *,
        mask: Source | None = None,
        markup: Source | None = None,
        model: str | None = None,
        n: int | None = None,
        size: Size | None = None,
        quality: Quality | None = None,
        background: Background | None = None,
        output_format: OutputFormat | None = None,
        output_compression: int | None = None,
        input_fidelity: InputFidelity | None = None,
        moderation: Moderation | None = None,
        complexity: Complexity | None = None,
        frame_count: int | None = None,
        frame_duration_ms: int | None = None,
        svg: Svg | None = None,
        response_format: ResponseFormat | None = None,
        safety_identifier: str | None = None,
        user: str | None = None,
        **options: Unpack[CallOptions],
    ) -> ImagesResponse:
        """Change a picture, or paint into it where a mask is transparent.

        The prompt describes the whole new picture, not only what comes into the erased area. The parameters
        are those of :class:`Edit`, the options those of :class:`CallOptions`.

        Example:
            response = await client.images.edit("lounge.png", "a lounge with a pool", mask="mask.png")

        Raises:
            InvalidRequestError: a parameter or a picture breaks a rule of the model; nothing was sent.
            ModerationError: the content filter refused the prompt or a picture.
            APIError: it failed in another way; ``maybe_billed`` tells about money.
            OSError: a file cannot be read.
        """
        job = Edit(
            image,
            prompt,
            mask=mask,
            markup=markup,
            model=model,
            n=n,
            size=size,
            quality=quality,
            background=background,
            output_format=output_format,
            output_compression=output_compression,
            input_fidelity=input_fidelity,
            moderation=moderation,
            complexity=complexity,
            frame_count=frame_count,
            frame_duration_ms=frame_duration_ms,
            svg=svg,
            response_format=response_format,
            safety_identifier=safety_identifier,
            user=user,
        )
        return await self.send(job, **options)

    async def create_variation(
        self,
        image: Source,
        *,
        model: str | None = None,
        n: int | None = None,
        size: Size | None = None,
        response_format: ResponseFormat | None = None,
        user: str | None = None,
        **options: Unpack[CallOptions],
    ) -> ImagesResponse:
        """Make pictures that resemble a given one.

        The maker retired this with dall-e-2; servers that speak the API of 2023 have it. The parameters are
        those of :class:`Variation`, the options those of :class:`CallOptions`.

        Example:
            response = await client.images.create_variation("corgi.png", n=2)

        Raises:
            InvalidRequestError: a parameter or the picture breaks a rule of the model; nothing was sent.
            ModerationError: the content filter refused the picture.
            APIError: it failed in another way; ``maybe_billed`` tells about money.
            OSError: a file cannot be read.
        """
        job = Variation(image, model=model, n=n, size=size, response_format=response_format, user=user)
        return await self.send(job, **options)

    async def send(self, job: Job, **options: Unpack[CallOptions]) -> ImagesResponse:
        """Do what a :class:`Generate`, :class:`Edit` or :class:`Variation` says.

        Example:
            response = await client.images.send(Generate("a white siamese cat", n=2))

        Raises:
            InvalidRequestError: something breaks a rule of the model; nothing was sent.
            APIError: it failed in another way; ``maybe_billed`` tells about money.
            OSError: a file cannot be read or written.
        """
        _check_options(options)
        out = options.get("out")
        job = requests.resolve(job, self._engine.host, has_out=out is not None)
        profile = models.lookup(job.model)
        warn_of_retirement(job, self._engine.host)
        asked = options.get("check")
        checked = self._defaults.check if asked is None else asked
        checks.check_shape(job)
        if checked and profile is not None:
            checks.check_parameters(job, profile)
        headers = checked_headers((options.get("extra_headers") or {}).items())
        _check_query(options.get("extra_query"))
        timeouts = _timeouts(self._defaults.timeouts, options.get("timeout"))
        deadline = _deadline(timeouts)
        key = _idempotency_key(options.get("idempotency_key"))
        async with AsyncExitStack() as stack:
            try:
                with anyio.fail_after(timeouts.total):
                    pictures = await stack.enter_async_context(opened_pictures(requests.sources(job)))
            except TimeoutError:
                raise APITimeoutError(
                    "The pictures could not be read in time. Nothing was sent.", idempotency_key=key
                ) from None
            if checked and profile is not None:
                checks.check_pictures(job, pictures, profile)
            request = requests.build(
                job, pictures, boundary=f"imagesdk-{uuid.uuid4().hex}", extra_body=options.get("extra_body")
            )
            destination = await _destination(out, request.weight)
            call = Call(
                request,
                parse=lambda document: parse_success(document, profile),
                timeouts=timeouts,
                deadline=deadline,
                idempotency_key=key,
                headers=tuple(headers),
                query=options.get("extra_query"),
                folder=destination.folder if destination else None,
                fsync=self._defaults.fsync,
                tokens=lambda parsed: parsed.usage.total_tokens if parsed.usage else None,
            )
            result = await self._engine.send(call)
        text = "variation" if isinstance(job, Variation) else job.prompt
        named = FileNames(destination, call.id, slug(text), call.fsync) if destination else None
        response = await assemble(result, call, named, self._engine.host, job)
        return await self._fetch_missing(response, named, timeouts, deadline) if named else response

    async def download(
        self,
        image: Image | str,
        *,
        to: str | os.PathLike[str] | None = None,
        timeout: float | None = None,
    ) -> bytes:
        """Return the bytes of a picture, fetching its URL if it is only that; write them to ``to`` if given.

        The key never goes to the picture's server. A failed fetch is tried again, and never by generating
        again. ``to`` is a file, or a folder for a name of ours.

        Example:
            data = await client.images.download(response[0], to="otter.png")

        Raises:
            DownloadError: the URL is not safe to fetch, has expired, or could not be fetched.
            OSError: the file cannot be read or written.
        """
        index = 0 if isinstance(image, str) else image.index
        url = image if isinstance(image, str) else image.url
        if not isinstance(image, str) and (image.loaded or url is None):
            data = await on_disk(lambda: image.bytes)
        else:
            assert url is not None  # noqa: S101 - an image without bytes has one
            timeouts = _timeouts(self._defaults.timeouts, timeout)
            received = await self._fetch(url, Sink(None), timeouts, _deadline(timeouts))
            data = received.data or b""
        if to is not None:
            await on_disk(_write, data, to, index)
        return data

    async def _fetch(self, url: str, sink: Sink, timeouts: Timeouts, deadline: float | None) -> Received:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        limits = [seconds for seconds in (timeouts.attempt, left) if seconds is not None]
        return await self._downloader.fetch(
            url, sink, connect_timeout=timeouts.connect, timeout=min(limits) if limits else None
        )

    async def _fetch_missing(
        self, response: ImagesResponse, names: FileNames, timeouts: Timeouts, deadline: float | None
    ) -> ImagesResponse:
        """Bring the pictures to disk that a server answered with URLs for."""
        images = list(response.data)
        for at, image in enumerate(images):
            if image.path is not None or image.url is None:
                continue
            sink = Sink(names.destination.folder, fsync=self._defaults.fsync)
            try:
                received = await self._fetch(image.url, sink, timeouts, deadline)
                path = await names.place(image.index, received)
            except DownloadError as error:
                error.response = attrs.evolve(response, data=tuple(images))
                raise
            finally:
                await discard(sink)
            facts = received.facts
            images[at] = attrs.evolve(
                image, path=path, media_type=facts.media_type, width=facts.width, height=facts.height
            )
        return attrs.evolve(response, data=tuple(images))


async def _destination(out: str | os.PathLike[str] | None, n: int) -> Destination | None:
    if out is None:
        return None
    return await on_disk(_ready, out, n)


def _ready(out: str | os.PathLike[str], n: int) -> Destination:
    destination = Destination.parse(out, n=n)
    check_writable(destination.folder)
    return destination


def _write(data: bytes, to: str | os.PathLike[str], index: int) -> Path:
    facts = sniff(data[:HEAD_SIZE])
    return Image(index=index, media_type=facts.media_type, data=data).save(to)


def _timeouts(defaults: Timeouts, timeout: float | None) -> Timeouts:
    return defaults if timeout is None else attrs.evolve(defaults, total=timeout)


def _deadline(timeouts: Timeouts) -> float | None:
    return None if timeouts.total is None else time.monotonic() + timeouts.total


def _idempotency_key(given: str | None) -> str:
    if given is None:
        return f"imagesdk-{uuid.uuid4()}"
    if (
        not given
        or len(given) > 255
        or not (given.isascii() and given.isprintable())
        or given != given.strip()
    ):
        raise InvalidRequestError(
            "idempotency_key must be 1 to 255 printable ASCII characters without space around them.",
            param="idempotency_key",
            value=given,
        )
    return given


def _check_query(query: Mapping[str, str] | None) -> None:
    try:
        urlencode(query or {})
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(
            f"extra_query cannot be put into a URL: {error}.", param="extra_query"
        ) from None


def _check_options(options: Mapping[str, Any]) -> None:
    for name in options:
        if name in _ELSEWHERE:
            raise TypeError(f"{name}= is not an option of a call here: {_ELSEWHERE[name]}.")
        if name not in _OPTIONS:
            raise TypeError(
                f"there is no parameter {name}=; one that the server knows and this version does not goes into "
                f"extra_body={{{name!r}: ...}}."
            )


AsyncImages.__module__ = "imagesdk"
