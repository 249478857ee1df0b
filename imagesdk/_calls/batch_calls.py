"""Requests about batches: each batch is created once, whatever becomes of the answer to its creation.

A batch has an id of the client in its metadata, its *intent*. If the creation has no answer, the client looks for the
intent in the listing before it creates the batch again. Listings lag, so it looks for :data:`LOOK_SECONDS`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio
from attrs import evolve, frozen

from imagesdk._calls.build import ClientContext, load_sources
from imagesdk._calls.queries import ask, send_query
from imagesdk._engine.sink import discard
from imagesdk._protocol import batch_api, files_api
from imagesdk._protocol.hosts import Host
from imagesdk._protocol.requests import Request
from imagesdk._protocol.retry import classify
from imagesdk.errors import APIError, APIStatusError, NotFoundError
from imagesdk.policies import Timeouts
from imagesdk.remedies import Remedy
from imagesdk.reports import Batch
from imagesdk.types import FileObject, Upload

_T = TypeVar("_T")
LOOK_SECONDS = 60.0
"""Time for which the client looks for a batch whose creation had no answer, before it creates the batch again."""
_LOOK_PAUSES: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds between two looks. The last one is repeated."""
_SKEW: Final = 3600.0
"""Seconds by which the clock of the server may differ from that of the client."""
_MOST_CREATIONS: Final = 5
"""Attempts to create one batch."""
_PROCESSED: Final = frozenset({None, "processed", "uploaded"})
_NO_FILE: Final = frozenset({"error", "deleted"})
_PROCESSING_SECONDS: Final = 600.0
_FILE_NAME: Final = "requests.jsonl"
"""The API takes no other extension."""
_NO_ROUTE: Final = frozenset({404, 405, 501})


@frozen
class BatchCalls:
    """Requests about batches, for one client."""

    context: ClientContext
    timeout: float | Timeouts | None = None

    @property
    def host(self) -> Host:
        """The server."""
        return self.context.host

    async def upload(self, file: Upload, purpose: str, expires_after: int | None = None) -> FileObject:
        """Upload a file."""
        request = files_api.upload_request(file, purpose, expires_after=expires_after)
        try:
            return await self._ask(request, files_api.parse_file)
        except APIStatusError as error:
            raise self._explained(error) from None

    async def upload_input(self, path: Path) -> FileObject:
        """Upload an input file, and wait until the server has processed it.

        Raises:
            APIError: If the upload fails.
            OSError: If the file cannot be read.
        """
        await load_sources()
        from imagesdk._calls.sources import open_file

        async with open_file(path, None) as file:
            found = await self.upload(evolve(file, name=_FILE_NAME), "batch")
        deadline, pause = time.monotonic() + _PROCESSING_SECONDS, 0.5
        while found.status not in _PROCESSED and time.monotonic() < deadline:  # Azure checks files first
            if found.status in _NO_FILE:
                break
            await anyio.sleep(pause)
            pause = min(2 * pause, 10.0)
            found = await self._ask(files_api.file_request(found, "GET"), files_api.parse_file)
        return found

    async def create(
        self,
        intent: str,
        input_file: str,
        endpoint: str,
        metadata: Mapping[str, str],
        *,
        began: float,
        output_expires_after: int | None = None,
        look_first: bool = False,
    ) -> Batch:
        """Create the batch of an intent once. ``look_first``: an earlier process may have created it.

        Args:
            intent: The id in the metadata.
            input_file: The id of the uploaded file.
            endpoint: The path of the requests.
            metadata: Further metadata.
            began: The time of the intent, in seconds since 1970.
            output_expires_after: Lifetime of the output files in seconds.
            look_first: Whether to look for the batch before its first creation here.

        Raises:
            APIError: If the server refuses the batch, or cannot be asked whether it has it. In the latter case the error
                is ``maybe_billed``.
        """
        named = {**metadata, batch_api.INTENT: intent}
        request = batch_api.create_request(
            input_file, endpoint, metadata=named, output_expires_after=output_expires_after
        )
        creation = 0
        while True:
            if creation or look_first:
                try:
                    found = await self.look_for(intent, began)
                except APIError as error:
                    error.maybe_billed = True  # the server may have the batch
                    raise
                if found is not None:
                    return found
            try:
                return await self._ask(
                    request, batch_api.parse_batch, delivery="at_most_once", idempotency_key=intent
                )
            except APIStatusError as error:
                creation += 1
                if classify(error) == "refused" or creation == _MOST_CREATIONS:
                    raise self._explained(error) from None
            except APIError as error:
                creation += 1
                if classify(error) == "never_sent" or creation == _MOST_CREATIONS:
                    raise

    async def look_for(self, intent: str, began: float) -> Batch | None:
        """Look for the batch of an intent for :data:`LOOK_SECONDS`, and return it if it appears in the listing.

        Raises:
            APIError: If the last look fails.
        """
        deadline, pauses = time.monotonic() + LOOK_SECONDS, iter(_LOOK_PAUSES)
        pause = 0.0
        while True:
            failed: APIError | None = None
            try:
                if (found := await self._find(intent, began)) is not None:
                    return found
            except APIError as error:
                if classify(error) == "refused" and not is_passing(error):
                    raise
                failed = error
            left = deadline - time.monotonic()
            if left <= 0:
                if failed is not None:
                    raise failed
                return None
            pause = min(next(pauses, pause), left)
            await anyio.sleep(pause)

    async def retrieve(self, batch: str | Batch) -> tuple[Batch, float | None]:
        """Return a batch, and the seconds after which the server wants to be asked again."""
        request = batch_api.batch_request(batch)
        result = await send_query(
            self.context.engine, self.context.defaults, request, batch_api.parse_batch, self.timeout
        )
        await discard(result.sink)
        return result.parsed, batch_api.poll_after(result.headers)

    async def cancel(self, batch: str | Batch) -> Batch:
        """Ask the server to cancel a batch."""
        request = batch_api.batch_request(batch, "POST", "/cancel")
        return await self._ask(
            Request(request.path, 0, None, b"", "POST", costs=False), batch_api.parse_batch
        )

    async def page(self, limit: int | None, after: str | None) -> tuple[tuple[Batch, ...], bool]:
        """Return a page of batches, newest first, and whether there are more."""
        given = {"limit": limit, "after": after}
        query = {name: str(value) for name, value in given.items() if value is not None}
        return await self._ask(
            Request(batch_api.PATH, 0, None, b"", "GET"), batch_api.parse_list, query=query
        )

    async def _find(self, intent: str, began: float) -> Batch | None:
        after: str | None = None
        while True:
            batches, more = await self.page(batch_api.PAGE, after)
            for batch in batches:
                if batch.metadata.get(batch_api.INTENT) == intent:
                    return batch
            oldest = batches[-1] if batches else None
            if oldest is None or not more or oldest.id == after:
                return None
            if oldest.created is not None and oldest.created.timestamp() < began - _SKEW:
                return None
            after = oldest.id

    async def _ask(self, request: Request, parse: Callable[[Any], _T], **more: Any) -> _T:
        return await ask(self.context.engine, self.context.defaults, request, parse, self.timeout, **more)

    def _explained(self, error: APIStatusError) -> APIError:
        """Return the error of a server without a Batch API in clear words; any other error as it is."""
        if error.status_code not in _NO_ROUTE or self.host.is_openai:
            return error
        summary = f"{self.host.base_url} seems to have no Batch API: {error.summary}"
        return NotFoundError(
            summary,
            status_code=error.status_code,
            code=error.code,
            body=error.body,
            request_id=error.request_id,
            remedies=(Remedy.USE_LIVE_LANE,),
        )


def new_intent() -> str:
    """Return the id of a batch that is about to be created."""
    return f"imagesdk-{uuid.uuid4().hex}"


def is_passing(error: APIError) -> bool:
    """Whether a later request may succeed: no connection, a 429 or a 5xx."""
    if not isinstance(error, APIStatusError):
        return True
    return error.status_code in {408, 409, 425, 429} or error.status_code >= 500
