"""An application around the emulator that has what the peers' tests take for granted.

They send the text ``Example data`` as an image, and ask for a file ``file_id`` and a batch ``batch_id``. This puts an image
into such forms, and a new file or batch behind such a path. Everything else is the emulator's.
"""

from __future__ import annotations

import re
from io import BytesIO

import httpx
from PIL import Image
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Prepared"]

_PART = re.compile(
    rb'(name="(?:image|image\[\]|mask|file)"; filename="[^"]*"\r\n)(?:Content-Type: [^\r\n]*\r\n)?\r\nExample data',
    re.IGNORECASE,
)
_LINE = '{"custom_id": "a", "method": "POST", "url": "/v1/images/generations", "body": {"model": "gpt-image-2", "prompt": "x"}}'
_PATH = re.compile(r"/images/(edits|variations)$|/content_provenance_checks$")


class Prepared:
    """The application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        buffer = BytesIO()
        image = Image.new("RGBA", (64, 64), (30, 90, 160, 255))
        image.paste((0, 0, 0, 0), (32, 0, 64, 64))
        image.save(buffer, "PNG")
        self._png = buffer.getvalue()

    async def _new_file(self, purpose: str) -> str:
        async with self._client() as client:
            upload = {"file": ("lines.jsonl", _LINE.encode(), "application/jsonl")}
            answer = await client.post("/files", data={"purpose": purpose}, files=upload)
        return str(answer.json()["id"])

    async def _new_batch(self, purpose: str) -> str:
        job = {"endpoint": "/v1/images/generations", "completion_window": "24h"}
        job["input_file_id"] = await self._new_file(purpose)
        async with self._client() as client:
            answer = await client.post("/batches", json=job)
        return str(answer.json()["id"])

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self._app), base_url="http://127.0.0.1/v1")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        for name, make in (("file_id", self._new_file), ("batch_id", self._new_batch)):
            if f"/{name}" in scope.get("path", ""):
                scope = {**scope, "path": scope["path"].replace(name, await make(purpose="batch"))}
        if scope["type"] != "http" or not _PATH.search(scope["path"]):
            await self._app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        body = _PART.sub(rb"\1Content-Type: image/png\r\n\r\n" + self._png.replace(b"\\", rb"\\"), body)
        headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
        headers.append((b"content-length", str(len(body)).encode()))
        sent = False

        async def receive_changed() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app({**scope, "headers": headers}, receive_changed, send)
