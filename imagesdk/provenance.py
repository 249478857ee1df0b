"""``client.provenance``: whether an image carries proof that a model of OpenAI made it.

A check bills nothing and does not count against the rate limit, so every failure may be retried. The API takes files
only: what an edit would refer to by URL or id is fetched first.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from imagesdk._calls.build import ClientContext, load_sources
from imagesdk._calls.call_options import deadline_of, timeouts_of
from imagesdk._calls.finish import fetch
from imagesdk._calls.queries import ask, send_query
from imagesdk._calls.raw import ignore_body
from imagesdk._engine.sink import ImageSink
from imagesdk._media.source_text import is_url
from imagesdk._protocol import files_api, report_api
from imagesdk.policies import Timeouts
from imagesdk.types import FileId, FileObject, Image, Source

if TYPE_CHECKING:
    from imagesdk.reports import ProvenanceCheck


class AsyncProvenance:
    """Provenance of images, as ``client.provenance``."""

    def __init__(self, context: ClientContext) -> None:
        self._context = context

    async def check(self, image: Source, *, timeout: float | Timeouts | None = None) -> ProvenanceCheck:
        """Ask the server which signals of provenance an image has: C2PA metadata and SynthID watermarks.

        The server takes PNG, JPEG, WebP and GIF.

        Args:
            image: Any image that an edit takes. The image of a URL or of an uploaded file is downloaded first.
            timeout: Seconds for the whole call, or :class:`Timeouts`. Default: that of the client.

        Example:
            ```python
            check = await client.provenance.check("otter.png")
            print(check.detected, check.c2pa, check.synthid)
            ```

        Raises:
            InvalidRequestError: If ``image`` is not an image that can be sent. Nothing was sent.
            DownloadError: If the URL of the image is not safe to fetch, or cannot be fetched.
            NotFoundError: If the server has no such endpoint: only OpenAI has it.
            APIError: If the request fails in another way.
            OSError: If the file cannot be read.
        """
        timeouts = timeouts_of(self._context.defaults, timeout)
        deadline = deadline_of(timeouts)
        source = await self._fetched(image, timeouts, deadline)
        await load_sources()
        from imagesdk._calls.sources import open_file

        seconds = None if deadline is None else max(0.0, deadline - time.monotonic())
        async with open_file(source, seconds, "image") as file:
            request = report_api.check_request(file)
            engine, defaults = self._context.engine, self._context.defaults
            return await ask(engine, defaults, request, report_api.parse_check, timeouts, deadline=deadline)

    async def _fetched(self, image: Source, timeouts: Timeouts, deadline: float | None) -> Source:
        """Return the bytes of an image that only its URL or id names. Return any other image as it is."""
        if isinstance(image, (FileId, FileObject)):
            request = files_api.file_request(image, "GET", "/content")
            engine, defaults = self._context.engine, self._context.defaults
            result = await send_query(
                engine, defaults, request, ignore_body, timeouts, raw=True, deadline=deadline
            )
            return result.sink.images[0].data or b""
        url = None
        if isinstance(image, Image) and not image.loaded:
            url = image.url
        elif isinstance(image, str) and is_url(image) and image[:5].lower() != "data:":
            url = image
        if url is None:
            return image
        received = await fetch(self._context.downloader, url, ImageSink(None), timeouts, deadline)
        return received.data or b""


AsyncProvenance.__module__ = "imagesdk"
