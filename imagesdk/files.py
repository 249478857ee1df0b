"""``client.files``: files on the server, such as images that edits refer to by id.

These requests bill nothing. They do not count against the rate limit, and every failure may be retried.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import attrs

from imagesdk._calls.build import ClientContext, load_sources
from imagesdk._calls.call_options import timeouts_of
from imagesdk._calls.queries import ask, send_query
from imagesdk._calls.raw import ignore_body
from imagesdk._engine.call import Result
from imagesdk._engine.sink import discard
from imagesdk._media.atomic import move_into_place
from imagesdk._media.output import check_writable, expand_local_path, literal_template
from imagesdk._protocol import files_api
from imagesdk._protocol.requests import Request
from imagesdk._runtime.threads import run_blocking
from imagesdk.policies import Timeouts
from imagesdk.types import FileId, FileObject, Source

_T = TypeVar("_T")


class AsyncFiles:
    """Files on the server, as ``client.files``."""

    def __init__(self, context: ClientContext) -> None:
        self._engine = context.engine
        self._defaults = context.defaults

    async def upload(
        self,
        source: Source,
        purpose: str = "vision",
        *,
        filename: str | None = None,
        expires_after: int | None = None,
        timeout: float | Timeouts | None = None,
    ) -> FileObject:
        """Upload a file, for example an image that several edits use.

        Args:
            source: A path, bytes, a binary file, or any other image that an edit takes. It is read while it is sent.
            purpose: ``"vision"`` for images, ``"batch"`` for the requests of a batch.
            filename: The name of the file on the server. Default: its own name.
            expires_after: Seconds until the server deletes the file, from an hour (3600) to 30 days (2592000).
            timeout: Seconds for the whole call, or :class:`Timeouts`. Default: that of the client.

        Example:
            ```python
            file = await client.files.upload("lounge.png")
            response = await client.images.edit(file, "a lounge with a pool")
            ```

        Raises:
            InvalidRequestError: If ``source`` has nothing to upload. Nothing was sent.
            APIError: If the request fails.
            OSError: If the file cannot be read.
        """
        await load_sources()
        from imagesdk._calls.sources import open_file

        async with open_file(source, timeouts_of(self._defaults, timeout).total) as file:
            named = file if filename is None else attrs.evolve(file, name=filename)
            request = files_api.upload_request(named, purpose, expires_after=expires_after)
            return await self._ask(request, files_api.parse_file, timeout)

    async def retrieve(
        self, file: str | FileId | FileObject, *, timeout: float | Timeouts | None = None
    ) -> FileObject:
        """Return the facts about a file.

        Example:
            ```python
            file = await client.files.retrieve("file-abc123")
            ```

        Raises:
            NotFoundError: If there is no such file.
            APIError: If the request fails in another way.
        """
        return await self._ask(files_api.file_request(file, "GET"), files_api.parse_file, timeout)

    async def list(
        self,
        *,
        purpose: str | None = None,
        limit: int | None = None,
        after: str | None = None,
        timeout: float | Timeouts | None = None,
    ) -> tuple[FileObject, ...]:
        """Return a page of the account's files, newest first.

        Args:
            purpose: Only files with this purpose. Default: all files.
            limit: The maximum number of files. Default: that of the server.
            after: The id of the last file on the page before.
            timeout: Seconds for the whole call, or :class:`Timeouts`. Default: that of the client.

        Example:
            ```python
            for file in await client.files.list(purpose="vision"):
                print(file.id, file.filename)
            ```

        Raises:
            APIError: If the request fails.
        """
        given = {"purpose": purpose, "limit": limit, "after": after}
        query = {name: str(value) for name, value in given.items() if value is not None}
        request = Request(files_api.PATH, 0, None, b"", "GET")
        return await self._ask(request, files_api.parse_list, timeout, query=query)

    async def delete(
        self, file: str | FileId | FileObject, *, timeout: float | Timeouts | None = None
    ) -> bool:
        """Delete a file, and return whether the server has deleted it.

        Example:
            ```python
            await client.files.delete(file)
            ```

        Raises:
            NotFoundError: If there is no such file.
            APIError: If the request fails in another way.
        """
        return await self._ask(files_api.file_request(file, "DELETE"), files_api.parse_deleted, timeout)

    async def content(
        self, file: str | FileId | FileObject, *, timeout: float | Timeouts | None = None
    ) -> bytes:
        """Return the bytes of a file. Servers do not return files that were uploaded for vision.

        Example:
            ```python
            data = await client.files.content("file-abc123")
            ```

        Raises:
            NotFoundError: If there is no such file.
            APIError: If the request fails in another way.
        """
        result = await self._content(file, timeout)
        return result.sink.images[0].data or b""

    async def download(
        self,
        file: str | FileId | FileObject,
        to: str | os.PathLike[str],
        *,
        timeout: float | Timeouts | None = None,
    ) -> Path:
        """Write the bytes of a file to ``to`` while they arrive, and return the path. ``to`` is never half a file.

        Example:
            ```python
            path = await client.files.download("file-abc123", "results.jsonl")
            ```

        Raises:
            NotFoundError: If there is no such file.
            APIError: If the request fails in another way.
            OSError: If ``to`` cannot be written.
        """
        path = Path(expand_local_path("to", to))
        await run_blocking(check_writable, path.parent, literal_template(path.name))
        result = await self._content(file, timeout, path.parent)
        received = result.sink.images[0]
        try:
            assert received.temporary is not None  # noqa: S101 - it went to a folder
            with anyio.CancelScope(shield=True):
                move = partial(move_into_place, fsync=self._defaults.fsync)
                await run_blocking(move, received.temporary, path)
            received.temporary = None
        finally:
            await discard(result.sink)
        return path

    async def _ask(
        self, request: Request, parse: Callable[[Any], _T], timeout: float | Timeouts | None, **more: Any
    ) -> _T:
        return await ask(self._engine, self._defaults, request, parse, timeout, **more)

    async def _content(
        self, file: str | FileId | FileObject, timeout: float | Timeouts | None, folder: Path | None = None
    ) -> Result[None]:
        request = files_api.file_request(file, "GET", "/content")
        return await send_query(
            self._engine, self._defaults, request, ignore_body, timeout, folder=folder, raw=True
        )


AsyncFiles.__module__ = "imagesdk"
