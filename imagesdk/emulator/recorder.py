"""Server between a client and the API, which records their exchanges, or replays them without any call."""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import cast
from urllib.parse import urlsplit

import anyio.to_thread
import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from imagesdk.emulator.answers import Refusal
from imagesdk.emulator.bodies import read_body
from imagesdk.emulator.recordings import (
    Exchange,
    Facts,
    Recording,
    describe_body,
    describe_image,
    draw,
    redact,
    reduce,
    render,
)

__all__ = ["Recorder"]

_KEPT_HEADERS = (
    "content-type",
    "x-request-id",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "openai-version",
)
_KEPT_PREFIX = "x-ratelimit-"
_DROPPED = frozenset(
    {"host", "connection", "content-length", "accept-encoding", "transfer-encoding", "keep-alive"}
)
_IMAGES = "/recorded-images/"
_MAX_OTHER = 1024 * 1024
"""Bytes of a response without images that are recorded."""
_TIMEOUT = 600.0
_SHORTEST_KEY = 8
_SECRET = re.compile("key|token|sig|secret", re.IGNORECASE)
"""What the names of secret query parameters contain."""


class Recorder:
    """Application that replays a recording, or records one from the API at ``upstream``."""

    def __init__(self, recording: Recording, upstream: str | None) -> None:
        self.problems: list[str] = []
        """Requests that were not in the recording, and those that the API did not answer."""
        self._recording = recording
        self._upstream = None if upstream is None else urlsplit(upstream)
        self._urls: dict[str, str] = {}
        """Real URLs of images, by their names."""
        self._tls = httpx.create_ssl_context() if upstream is not None else True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        try:
            if scope["path"].startswith(_IMAGES):
                response = await self._image(scope["path"].removeprefix(_IMAGES))
            else:
                response = await self._exchange(request)
        except httpx.TransportError as error:
            text = f"{scope['method']} {scope['path']}: the API could not be reached: {error}"
            response = self._problem(502, text, "not_reached")
        await response(scope, receive, send)

    async def _exchange(self, request: Request) -> Response:
        raw = await request.body()
        described = await self._described(request, raw)
        if self._upstream is not None:
            return await self._recorded(request, raw, described)
        exchange = self._recording.replay(described)
        if exchange is None:
            shown = json.dumps(described["body"])[:200]
            text = (
                f"{request.method} {request.url.path} {shown} is not in {self._recording.path}, or was replayed before. "
                "Nothing was sent. Delete the file to record it anew."
            )
            return self._problem(400, text, "not_recorded")
        return await anyio.to_thread.run_sync(self._replayed, exchange, _origin(request))

    def _replayed(self, exchange: Exchange, origin: str) -> Response:
        def url_of(name: str) -> str:
            return f"{origin}{_IMAGES}{name}"

        headers, body = dict(exchange.headers), exchange.body
        if "retry-after" in headers:
            headers["retry-after"] = "0"
        if "retry-after-ms" in headers:
            headers["retry-after-ms"] = "0"
        if "json" in body:
            content = json.dumps(render(body["json"], url_of)).encode()
        elif "events" in body:
            content = b"".join(
                _event(cast("Facts", one), url_of_data=render(cast("Facts", one).get("data"), url_of))
                for one in cast("list[object]", body["events"])
            )
        elif "lines" in body:
            lines = cast("list[object]", render(body["lines"], url_of))
            content = b"".join(json.dumps(one).encode() + b"\n" for one in lines)
        elif "image" in body:
            content = draw(cast("Facts", body["image"]))
        elif "base64" in body:
            content = base64.b64decode(str(body["base64"]))
        else:
            content = str(body.get("text", "")).encode()
        return Response(content, exchange.status, headers)

    async def _recorded(self, request: Request, raw: bytes, described: Facts) -> Response:
        upstream = self._upstream
        assert upstream is not None  # noqa: S101 - the caller has looked
        for name, url in self._urls.items():
            raw = raw.replace(f"{_origin(request)}{_IMAGES}{name}".encode(), url.encode())
        target = f"{upstream.scheme}://{upstream.netloc}{request.url.path}"
        headers = [(name, value) for name, value in request.headers.items() if name not in _DROPPED]
        client = httpx.AsyncClient(verify=self._tls, timeout=_TIMEOUT, follow_redirects=False)
        sent = client.build_request(
            request.method,
            target,
            params=request.url.query or None,
            headers=[*headers, ("accept-encoding", "identity")],
            content=raw,
        )
        try:
            answer = await client.send(sent, stream=True)
        except BaseException:
            await client.aclose()
            raise
        keys = _keys(request)
        if answer.headers.get("content-type", "").startswith("text/event-stream"):
            return StreamingResponse(
                self._pieces(client, answer, described, keys), answer.status_code, _kept(answer.headers)
            )
        async with aclosing(client):
            content = await answer.aread()
        return await anyio.to_thread.run_sync(
            self._kept_answer, answer, content, described, keys, _origin(request)
        )

    def _kept_answer(
        self, answer: httpx.Response, content: bytes, described: Facts, keys: list[str], origin: str
    ) -> Response:
        names: dict[str, Facts | None] = {}

        def name_url(url: str) -> str:
            name = f"{secrets.token_hex(6)}.png"
            self._urls[name] = url
            names[name] = None
            return name

        body, shown = _body(content, answer.headers.get("content-type", "")), content
        if body is None:
            self.problems.append(
                f"a response of {len(content)} bytes without an image is too large to record"
            )
            return Response(shown, answer.status_code, _kept(answer.headers))
        if "json" in body:
            reduced = reduce(body["json"], name_url, keys)
            if names:
                real = cast("Mapping[str, object]", body["json"])
                shown = json.dumps(
                    _with_urls(real, reduced, lambda name: f"{origin}{_IMAGES}{name}")
                ).encode()
            body["json"] = reduced
        elif "lines" in body:
            body["lines"] = reduce(body["lines"], str, keys)
        elif "text" in body:
            body["text"] = redact(str(body["text"]), keys)
        self._recording.add(Exchange(described, answer.status_code, _kept(answer.headers), body, names))
        return Response(shown, answer.status_code, _kept(answer.headers))

    async def _pieces(
        self, client: httpx.AsyncClient, answer: httpx.Response, described: Facts, keys: list[str]
    ) -> AsyncIterator[bytes]:
        text = bytearray()
        async with aclosing(client):
            async for piece in answer.aiter_bytes():
                text += piece
                yield piece
        events = [
            _read_event(one, keys) for one in text.decode(errors="replace").split("\n\n") if one.strip()
        ]
        self._recording.add(
            Exchange(described, answer.status_code, _kept(answer.headers), {"events": events}, {})
        )

    async def _image(self, name: str) -> Response:
        """Send an image behind a URL: the real one while recording, and a drawn one later."""
        if self._upstream is None:
            facts = self._recording.image(name)
            if facts is None:
                return self._problem(
                    404, f"the image {name} was not downloaded while recording", "not_recorded"
                )
            content = await anyio.to_thread.run_sync(draw, facts)
            return Response(content, media_type=str(facts.get("media_type")))
        if name not in self._urls:
            return self._problem(404, f"there is no image {name}", "not_recorded")
        async with httpx.AsyncClient(verify=self._tls, timeout=_TIMEOUT, follow_redirects=True) as client:
            answer = await client.get(self._urls[name])
        if answer.is_success:
            await anyio.to_thread.run_sync(self._recording.set_image, name, describe_image(answer.content))
        return Response(answer.content, answer.status_code, _kept(answer.headers))

    async def _described(self, request: Request, raw: bytes) -> Facts:
        body: Facts = {}
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if raw and media_type in {"application/json", "multipart/form-data"}:
            try:
                body = describe_body(await read_body(request, media_type))
            except Refusal as refusal:
                body = {"unreadable": refusal.message}
        elif raw:
            body = {"text": redact(raw.decode(errors="replace"), _keys(request))}
        body = cast("Facts", json.loads(json.dumps(body).replace(_origin(request), "")))
        query = [
            [name, "[key]" if _SECRET.search(name) else redact(value, _keys(request))]
            for name, value in request.query_params.multi_items()
        ]
        return {"method": request.method, "path": request.url.path, "query": query, "body": body}

    def _problem(self, status: int, text: str, code: str) -> Response:
        self.problems.append(text)
        error = {"message": text, "type": "recording", "param": None, "code": code}
        return JSONResponse({"error": error}, status, {"x-should-retry": "false"})


def _origin(request: Request) -> str:
    return f"{request.url.scheme}://{request.headers.get('host', '')}"


def _keys(request: Request) -> list[str]:
    given = [request.headers.get(name, "") for name in ("authorization", "api-key")]
    return [key for one in given if len(key := one.rpartition(" ")[2]) >= _SHORTEST_KEY]


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {
        name.lower(): value
        for name, value in headers.items()
        if name.lower() in _KEPT_HEADERS or name.lower().startswith(_KEPT_PREFIX)
    }


def _body(content: bytes, content_type: str) -> Facts | None:
    if content_type.startswith("application/json"):
        try:
            return {"json": json.loads(content)}
        except ValueError:
            pass
    facts = describe_image(content)
    if content_type.startswith("image/") and facts.get("media_type"):
        return {"image": facts}
    lines = _json_lines(content)
    if lines:
        return {"lines": lines}
    if len(content) > _MAX_OTHER:
        return None
    try:
        return {"text": content.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def _json_lines(content: bytes) -> list[object]:
    """Return the lines of a file of a batch; nothing for other content."""
    if not content.startswith(b"{"):
        return []
    try:
        return [json.loads(line) for line in content.splitlines() if line.strip()]
    except ValueError:
        return []


def _with_urls(real: object, reduced: object, url_of: Callable[[str], str]) -> object:
    """Return a real JSON value with the URLs of the recorder in place of those of images."""
    if isinstance(reduced, dict):
        given = cast("dict[str, object]", reduced)
        if "$url" in given:
            return url_of(str(given["$url"]))
        if given.keys() <= {"$image", "$data_url"}:
            return real
        known = cast("dict[str, object]", real)
        return {key: _with_urls(one, given[key], url_of) for key, one in known.items()}
    if isinstance(reduced, list):
        pairs = zip(cast("list[object]", real), cast("list[object]", reduced), strict=True)
        return [_with_urls(one, other, url_of) for one, other in pairs]
    return real


def _read_event(text: str, keys: list[str]) -> Facts:
    found: Facts = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == "event":
            found["event"] = value.strip()
        elif name == "data":
            try:
                found["data"] = reduce(json.loads(value), str, keys)
            except ValueError:
                found["text"] = redact(value.strip(), keys)
    return found


def _event(facts: Facts, *, url_of_data: object) -> bytes:
    lines = [f"event: {facts['event']}"] if "event" in facts else []
    lines.append(f"data: {json.dumps(url_of_data) if 'data' in facts else facts.get('text', '')}")
    return ("\n".join(lines) + "\n\n").encode()
