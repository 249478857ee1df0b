"""Middleware around every request: record, host, site, key, time-out, OpenAI's headers and errors.

A web page of any site may send a form to this machine. So a request that changes something is refused if it names
another site as its origin: https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Origin.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
import uuid
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import cast

import anyio
from attrs import define, field
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, ExceptionHandler, Message, Receive, Scope, Send

from imagesdk.emulator.answers import Refusal
from imagesdk.emulator.bodies import drain
from imagesdk.emulator.error_shapes import Shape
from imagesdk.emulator.exhibits import Answer
from imagesdk.emulator.known_errors import KNOWN_ERRORS
from imagesdk.emulator.log import RequestRecord
from imagesdk.emulator.state import EmulatorState

__all__ = ["WRONG_KEY", "ApiMiddleware", "exception_handlers", "origin_of"]

WRONG_KEY = "sk-invalid"
"""The only key that is rejected where a key is required."""

_CONTROL = "/_emulator"
"""Path of the endpoints that control the emulator. Requests to them are not recorded."""
_PAGES = frozenset({"/", "/healthz", "/openapi.json"})
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]", "testserver"})
_BODY_TIMEOUT = 60.0
"""Seconds without a byte of a body that is not complete."""
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_PORT = re.compile(r":\d+\Z")
_REAL_KEY = re.compile(r"bearer +sk-[\w-]{40,}", re.IGNORECASE | re.ASCII)
"""Pattern of OpenAI's keys, which are longer than any that a person types."""
_logger = logging.getLogger("imagesdk")


@define
class ApiMiddleware:
    """Outermost layer of the application."""

    _app: ASGIApp
    _state: EmulatorState
    _require_key: bool
    _allow_remote: bool
    _shape: Shape
    _root: str
    _warned: bool = field(default=False, init=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        state = self._state
        request_id = f"req_{uuid.uuid4().hex}"
        connection = state.connections.find(scope.get("client"))
        record = RequestRecord(
            method=scope["method"],
            path=scope["path"],
            user_agent=headers.get("user-agent"),
            idempotency_key=headers.get("idempotency-key"),
            authorized="authorization" in headers or "api-key" in headers,
            id=request_id,
            connection=None if connection is None else connection.number,
            began=state.clock(),
        )
        recorded = not scope["path"].startswith(_CONTROL) and scope["path"] not in _PAGES
        if recorded:
            state.remember(record)
            if connection is not None:
                connection.requests += 1
        if not self._warned and _REAL_KEY.match(headers.get("authorization", "")):
            self._warned = True
            _logger.warning(
                "a request has a key that looks real; the emulator stores no keys and accepts any text as one"
            )
        scope.setdefault("state", {}).update(record=record, request_id=request_id)
        began = time.perf_counter()
        exhibit: Answer | None = None

        async def send_with_headers(message: Message) -> None:
            nonlocal exhibit
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                _record_answer(record, message["status"], answer, state.clock())
                answer.setdefault("x-request-id", request_id)
                answer.setdefault("openai-processing-ms", str(round((time.perf_counter() - began) * 1000)))
                answer.setdefault("openai-version", "2020-10-01")
                answer.setdefault("openai-organization", "org-emulator")
                if recorded:
                    exhibit = state.exhibits.begin_answer(request_id, message["status"], dict(answer))
            else:
                if exhibit is not None:
                    exhibit.add(message.get("body", b""))
                if not message.get("more_body", False):
                    record.complete = connection is None or connection.closed is None
            await send(message)

        complete = False

        async def receive_in_time() -> Message:
            nonlocal complete
            if complete:  # what remains is the news that the client has left
                return await receive()
            try:
                with anyio.fail_after(_BODY_TIMEOUT):
                    message = await receive()
            except TimeoutError:
                text = f"The request body was not complete, and nothing came for {_BODY_TIMEOUT:g} seconds."
                raise Refusal(text, status=408, headers={"connection": "close"}) from None
            complete = not message.get("more_body", False)
            return message

        refusal = self._refusal(scope["method"], scope["path"], headers)
        try:
            if refusal is None:
                await self._app(scope, receive_in_time, send_with_headers)
                return
            record.error = refusal.code or refusal.message
            await drain(Request(scope, receive_in_time))
            await self._shape(refusal)(scope, receive, send_with_headers)
        finally:
            record.ended = state.clock()
            state.changes += scope["method"] not in _READING

    def _refusal(self, method: str, path: str, headers: Headers) -> Refusal | None:
        host = _PORT.sub("", headers.get("host", "")).lower()
        if not self._allow_remote and host not in _LOOPBACK:
            return Refusal("The emulator only serves loopback host names.", status=421)
        if method not in _READING and _from_another_site(headers, host):
            return Refusal("The emulator takes no requests from pages of other sites.", status=403)
        root = self._root.rpartition("/")[0] if self._root.startswith("/openai") else self._root
        if not self._require_key or not path.startswith(f"{root}/"):
            return None
        # Azure sends the key in a header without a scheme.
        given = headers.get("authorization") or f"Bearer {headers.get('api-key', '')}"
        scheme, _, key = given.partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            return Refusal(
                "You didn't provide an API key. You need to provide your API key in an Authorization header using "
                "Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
                status=401,
            )
        if key.strip() == WRONG_KEY:
            return Refusal(
                f"Incorrect API key provided: {WRONG_KEY}. You can find your API key at "
                "https://platform.openai.com/account/api-keys.",
                status=401,
                code="invalid_api_key",
            )
        return None


def _record_answer(record: RequestRecord, status: int, headers: Mapping[str, str], now: float) -> None:
    record.status, record.answered = status, now
    record.retry_after = seconds_to_wait(headers, now)
    remaining = headers.get("x-ratelimit-remaining-images", "")
    record.remaining = int(remaining) if remaining.isdecimal() else None


def seconds_to_wait(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds that a response asks its client to wait, from either header and either form of it."""
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        text = headers.get(name, "")
        if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text, re.ASCII):
            return float(text) / unit
        if text and unit == 1:
            with contextlib.suppress(ValueError, TypeError):
                return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    return None


def _from_another_site(headers: Headers, host: str) -> bool:
    """Return whether a browser sends the request for a page of another site. All loopback names are one site."""
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site") == "cross-site"
    site = _PORT.sub("", origin.lower().partition("://")[2])
    return site != host and not {site, host} <= _LOOPBACK


def origin_of(request: Request) -> str:
    """Return scheme, host and port as the client wrote them."""
    return f"{request.url.scheme}://{request.headers['host']}"


def exception_handlers(shape: Shape) -> dict[int | type[Exception], ExceptionHandler]:
    """Return the handlers that convert exceptions to responses in the error format of the server."""

    async def refused(request: Request, error: Exception) -> Response:
        refusal = cast("Refusal", error)
        request.state.record.error = refusal.code or refusal.message
        return shape(refusal)

    async def no_such_route(request: Request, error: Exception) -> Response:
        request.state.record.expected = False
        await drain(request)
        failed = cast("HTTPException", error)
        what = "method for URL" if failed.status_code == 405 else "URL"
        text = f"Invalid {what} ({request.method} {request.url.path})"
        return shape(Refusal(text, status=failed.status_code, headers=failed.headers))

    async def left(request: Request, error: Exception) -> Response:
        # The client disconnected while it was sending, so the response is never read.
        return Response(status_code=499)

    async def crashed(request: Request, error: Exception) -> Response:
        return shape(KNOWN_ERRORS["server_error"]())

    return {Refusal: refused, HTTPException: no_such_route, ClientDisconnect: left, Exception: crashed}
