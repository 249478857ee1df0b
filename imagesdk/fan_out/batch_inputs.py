"""Jobs as lines of an input file: input images are uploaded first, each once, and the file is written piece by piece."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

import anyio
from attrs import define, field

from imagesdk._calls.batch_calls import BatchCalls
from imagesdk._calls.build import PreparedCall
from imagesdk._media.atomic import create_temporary
from imagesdk._protocol.batch_input import BatchLine, Shard, ShardLimits, batch_line
from imagesdk._protocol.inputs import InputImage, InputImages, RemoteImage
from imagesdk._runtime.threads import run_blocking
from imagesdk.fan_out.fingerprint import Hashes

UPLOADS_A_MINUTE: Final = 1000
"""Limit of OpenAI for a user."""
UPLOAD_SECONDS: Final = 7 * 24 * 3600
"""Lifetime of uploaded input images."""
_WINDOW: Final = 60.0
_BUFFER: Final = 1024 * 1024


@define(eq=False)
class UploadPace:
    """At most :data:`UPLOADS_A_MINUTE` uploads in any minute."""

    limit: int = UPLOADS_A_MINUTE
    clock: Callable[[], float] = time.monotonic
    _began: deque[float] = field(factory=deque[float])

    async def wait(self) -> None:
        """Wait until an upload may begin."""
        while len(self._began) >= self.limit:
            left = self._began[0] + _WINDOW - self.clock()
            if left <= 0:
                self._began.popleft()
            else:
                await anyio.sleep(left)
        self._began.append(self.clock())


@define(eq=False)
class ImageUploads:
    """Uploads of input images, each content once."""

    calls: BatchCalls
    pace: UploadPace = field(factory=UploadPace)
    known: dict[str, str] = field(factory=dict[str, str])
    """File ids by the SHA-256 of their content."""
    record: Callable[[str, str], Awaitable[None]] | None = None
    """Records the file id of a content."""
    _locks: dict[str, anyio.Lock] = field(factory=dict[str, anyio.Lock])

    async def remote(self, images: InputImages, hashes: Hashes) -> InputImages:
        """Return the images of a job as file ids and URLs. Upload those that the server does not have."""
        mask, markup = images.mask, images.markup
        return InputImages(
            tuple([await self._remote(*each) for each in zip(images.images, hashes.images, strict=True)]),
            None if mask is None else await self._remote(mask, hashes.mask or ""),
            None if markup is None else await self._remote(markup, hashes.markup or ""),
        )

    async def _remote(self, image: InputImage, sha256: str) -> RemoteImage:
        if isinstance(image, RemoteImage):
            return image
        async with self._locks.setdefault(sha256, anyio.Lock()):
            if (known := self.known.get(sha256)) is None:
                await self.pace.wait()
                known = (await self.calls.upload(image, "vision", UPLOAD_SECONDS)).id
                if self.record is not None:
                    await self.record(sha256, known)
                self.known[sha256] = known
        self._locks.pop(sha256, None)
        return RemoteImage(file_id=known)


async def line_of(prepared: PreparedCall, custom_id: str, hashes: Hashes, uploads: ImageUploads) -> BatchLine:
    """Return the line of a job.

    Raises:
        InvalidRequestError: If the job cannot be part of a batch.
        APIError: If an input image cannot be uploaded.
    """
    images = await uploads.remote(prepared.inputs, hashes)
    return batch_line(prepared.job, images, custom_id, prepared.call.profile, uploads.calls.host)


@define(eq=False)
class InputWriter:
    """The input file of one shard, in a temporary file."""

    folder: Path
    owner: str
    shard: Shard
    path: Path | None = None
    _descriptor: int | None = None
    _pending: bytearray = field(factory=bytearray)

    @classmethod
    def of(cls, folder: Path, owner: str, limits: ShardLimits) -> InputWriter:
        """Return a writer of an empty shard."""
        return cls(folder, owner, Shard(limits))

    async def add(self, line: BatchLine) -> None:
        """Write a line."""
        self.shard.add(line)
        self._pending += line.content
        if len(self._pending) >= _BUFFER:
            await self._write()

    async def finish(self) -> Path:
        """Write what is left, and return the path of the file."""
        await self._write()
        self._close()
        assert self.path is not None  # noqa: S101 - _write has created it
        return self.path

    async def discard(self) -> None:
        """Remove the file."""
        self._close()
        if self.path is not None:
            await run_blocking(partial(self.path.unlink, missing_ok=True))

    async def _write(self) -> None:
        content, self._pending = bytes(self._pending), bytearray()
        await run_blocking(self._append, content)

    def _append(self, content: bytes) -> None:
        if self._descriptor is None:
            self._descriptor, self.path = create_temporary(self.folder, self.owner)
        left = memoryview(content)
        while left:
            left = left[os.write(self._descriptor, left) :]

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
