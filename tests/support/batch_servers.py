"""Batch API in process, for tests of its results: it repeats one image in every line, and keeps no file."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
from attrs import define, field

from imagesdk import AsyncClient, RetryPolicy

_CUSTOM_ID = re.compile(rb'"custom_id":"([^"]+)"')
_CHUNK = 64 * 1024
USAGE = {
    "input_tokens": 5,
    "output_tokens": 196,
    "total_tokens": 201,
    "input_tokens_details": {"text_tokens": 5, "image_tokens": 0},
}


@define(eq=False)
class BatchServer:
    """State of the server. Each batch has ended at the first look."""

    image: bytes
    inputs: dict[str, list[str]] = field(factory=dict[str, list[str]])
    """The ``custom_id``s of each input file."""
    created: list[dict[str, Any]] = field(factory=list[dict[str, Any]])
    status: str = "processed"
    """Status of a file just after its upload."""
    lines: list[bytes] = field(factory=list[bytes])
    """Lines of the latest input file."""
    sent_bytes: int = 0
    """Bytes of results."""
    breaks: int = 0
    """Times that a download still breaks off, each after :attr:`break_after` bytes."""
    break_after: int = 1_000_000
    ranges: bool = True
    requested: list[str] = field(factory=list[str])
    """Ranges of downloads."""

    def client(self, **options: Any) -> AsyncClient:
        transport = httpx.MockTransport(self.respond)
        return AsyncClient(
            base_url="http://127.0.0.1:9/v1",
            api_key="",
            rate_limit=None,
            retry=RetryPolicy(max_attempts=1),
            http_client=lambda: httpx.AsyncClient(transport=transport),
            **options,
        )

    async def respond(self, request: httpx.Request) -> httpx.Response:
        path, method = request.url.path.partition("/v1")[2], request.method
        if path == "/files":
            name = f"file-{len(self.inputs)}"
            self.inputs[name] = [found.decode() for found in _CUSTOM_ID.findall(await request.aread())]
            self.lines = (await request.aread()).split(b"\r\n\r\n")[-1].partition(b"\r\n")[0].splitlines()
            return httpx.Response(200, json={"id": name, "object": "file", "status": self.status})
        if path.startswith("/files/") and not path.endswith("/content"):
            return httpx.Response(
                200, json={"id": path.split("/")[2], "object": "file", "status": "processed"}
            )
        if path == "/batches" and method == "POST":
            given = json.loads(await request.aread())
            batch = {
                "id": f"batch-{len(self.created)}",
                "object": "batch",
                "status": "in_progress",
                "created_at": 1,
                **given,
            }
            self.created.append(batch)
            return httpx.Response(200, json=batch)
        if path == "/batches":
            return httpx.Response(200, json={"object": "list", "data": self.created, "has_more": False})
        if path.startswith("/batches/"):
            batch = self.created[int(path.rpartition("-")[2])]
            lines = len(self.inputs[batch["input_file_id"]])
            counts = {"total": lines, "completed": lines, "failed": 0}
            output = f"{batch['input_file_id']}-output"
            ended = {**batch, "status": "completed", "request_counts": counts, "output_file_id": output}
            return httpx.Response(200, json=ended)
        name = path.split("/")[2]
        if name in self.inputs:
            return httpx.Response(404, json={"error": {"message": "No such File object"}})
        return self._content(name.removesuffix("-output"), request.headers.get("range"))

    def _content(self, name: str, wanted: str | None) -> httpx.Response:
        self.requested.append(wanted or "")
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.ranges else 0
        stop: int | None = None
        if self.breaks:
            self.breaks -= 1
            stop = self.break_after
        return httpx.Response(206 if start else 200, stream=_Lines(self, self.inputs[name], start, stop))


@define(eq=False)
class _Lines(httpx.AsyncByteStream):
    server: BatchServer
    custom_ids: list[str]
    start: int
    stop: int | None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        encoded = base64.b64encode(self.server.image).decode()
        skip, sent = self.start, 0
        for custom_id in self.custom_ids:
            line = self._line(custom_id, encoded)
            if skip >= len(line):
                skip -= len(line)
                continue
            view, skip = memoryview(line)[skip:], 0
            for at in range(0, len(view), _CHUNK):
                piece = bytes(view[at : at + _CHUNK])
                if self.stop is not None and sent + len(piece) > self.stop:
                    raise httpx.ReadError("the connection was reset")
                sent += len(piece)
                self.server.sent_bytes += len(piece)
                yield piece

    def _line(self, custom_id: str, encoded: str) -> bytes:
        body = {"created": 1, "data": [{"b64_json": encoded}], "usage": USAGE}
        response = {"status_code": 200, "request_id": f"req-{custom_id}", "body": body}
        line = {"id": f"batch_req_{custom_id}", "custom_id": custom_id, "response": response, "error": None}
        return json.dumps(line).encode() + b"\n"
