"""Download of a stored file: piece by piece, and a range of it where the emulator serves ranges."""

from __future__ import annotations

import re
from collections.abc import Iterator

import anyio.to_thread
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from imagesdk.emulator.answers import Refusal
from imagesdk.emulator.faults import unless_disconnected
from imagesdk.emulator.files import StoredFile

__all__ = ["ContentResponse"]


class ContentResponse(Response):
    """Response that sends a file without holding it. Its length is announced."""

    media_type = "application/octet-stream"

    def __init__(self, file: StoredFile, *, wanted: str | None) -> None:
        """Prepare the response. ``wanted`` is the ``Range`` header, or ``None`` for the whole file."""
        span = None if wanted is None else _span(wanted, file.size)
        self._start, self._stop = span or (0, file.size)
        self._file = file
        super().__init__(status_code=200 if span is None else 206)
        self.headers["content-length"] = str(self._stop - self._start)
        if span is not None:
            self.headers["content-range"] = f"bytes {self._start}-{self._stop - 1}/{file.size}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the content until the client disconnects."""
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        await send(start)

        async def run() -> None:
            pieces = self._file.pieces(self._start, self._stop)
            while (piece := await anyio.to_thread.run_sync(_next, pieces)) is not None:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        await unless_disconnected(receive, run)


def _next(pieces: Iterator[bytes]) -> bytes | None:
    return next(pieces, None)


def _span(wanted: str, size: int) -> tuple[int, int] | None:
    """Return the first byte and the end of a range; ``None`` for a header that is ignored."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted.strip(), re.ASCII)
    if match is None or match[0].endswith("=-"):
        return None
    first, last = match.groups()
    if first and last and int(first) > int(last):
        return None
    start = int(first) if first else max(0, size - int(last))
    stop = size if not last or not first else min(size, int(last) + 1)
    if start >= size or start >= stop:
        text = "The requested range is not satisfiable."
        raise Refusal(text, status=416, headers={"content-range": f"bytes */{size}"})
    return start, stop
