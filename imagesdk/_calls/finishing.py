"""From an answer to a response whose pictures are where they were asked for, fetched if the server kept them.

A fetch that fails is tried again by itself, and never by generating again. What an answer becomes without any fetching is
in :mod:`imagesdk._calls.finish`.
"""

from __future__ import annotations

import time
from pathlib import Path

import attrs

from imagesdk._calls.build import CallDefaults, PreparedCall
from imagesdk._calls.finish import OutputNames, assemble, describe
from imagesdk._engine.call import Result
from imagesdk._engine.download import Downloader
from imagesdk._engine.sink import ImageSink, ReceivedImage, discard
from imagesdk._protocol.hosts import Host
from imagesdk._protocol.responses import ParsedResponse
from imagesdk.errors import DownloadError
from imagesdk.policies import Timeouts
from imagesdk.types import Image, ImagesResponse


class Finisher:
    """What all calls of one client finish with."""

    def __init__(self, host: Host, downloader: Downloader, defaults: CallDefaults) -> None:
        self._host = host
        self._downloader = downloader
        self._fsync = defaults.fsync

    async def finished(self, result: Result[ParsedResponse], ready: PreparedCall) -> ImagesResponse:
        """Return the response to a call, with every picture on disk where files were asked for.

        Raises:
            DownloadError: a picture that the server kept could not be fetched.
            OSError: a file cannot be written.
        """
        response = await self.assembled(result, ready)
        if ready.names is None:
            return response
        return await self.fetch_missing(response, ready.names, ready.call.timeouts, ready.call.deadline)

    async def assembled(self, result: Result[ParsedResponse], ready: PreparedCall) -> ImagesResponse:
        """Return the response as it came: pictures that the server kept are URLs.

        Raises:
            OSError: a file cannot be written.
        """
        return await assemble(result, ready.call, ready.names, self._host, ready.job)

    def described(self, result: Result[ParsedResponse], ready: PreparedCall) -> ImagesResponse:
        """Return what an answer says, before any file has its final name."""
        return describe(result, ready.call, self._host, ready.job)

    async def fetch(
        self, url: str, sink: ImageSink, timeouts: Timeouts, deadline: float | None
    ) -> ReceivedImage:
        """Fetch one picture into ``sink``.

        Raises:
            DownloadError: it could not be fetched.
        """
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        limits = [seconds for seconds in (timeouts.attempt, left) if seconds is not None]
        return await self._downloader.fetch(
            url, sink, connect_timeout=timeouts.connect, timeout=min(limits) if limits else None
        )

    async def fetch_missing(
        self, response: ImagesResponse, names: OutputNames | None, timeouts: Timeouts, deadline: float | None
    ) -> ImagesResponse:
        """Bring the pictures that are only URLs to disk, or without ``names`` into memory.

        Raises:
            DownloadError: one could not be fetched; ``error.response`` has those that could.
            OSError: a file cannot be written.
        """
        images = list(response.data)
        for at, image in enumerate(images):
            if image.loaded or image.url is None:
                continue
            sink = ImageSink(names.template.folder if names else None, fsync=self._fsync)
            try:
                received = await self.fetch(image.url, sink, timeouts, deadline)
                path = await names.move_into_place(image.index, received) if names else None
            except DownloadError as error:
                error.response = attrs.evolve(response, data=tuple(images))
                raise
            finally:
                await discard(sink)
            images[at] = _fetched(image, received, path)
        return attrs.evolve(response, data=tuple(images))


def _fetched(image: Image, received: ReceivedImage, path: Path | None) -> Image:
    facts = received.facts
    return attrs.evolve(
        image,
        path=path,
        data=received.data,
        media_type=facts.media_type,
        width=facts.width,
        height=facts.height,
    )
