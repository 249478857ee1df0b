"""The application: routes, and the way of one request from its bytes to its answer.

An image request is read, checked, decoded, let through the limit, billed, painted and answered, in this
order: what is refused is neither counted nor billed. Every answer carries the maker's headers, every error
the maker's JSON. No answer is ever a page of HTML.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
import uuid
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import partial
from http import HTTPStatus

import anyio.to_thread
from attrs import frozen
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imagesdk.emulator.answers import Refusal, model_not_found
from imagesdk.emulator.bodies import Body, drain, read_body
from imagesdk.emulator.limits import ImageWindow
from imagesdk.emulator.pictures import Brush, encode
from imagesdk.emulator.results import ResultStore, azure_error
from imagesdk.emulator.rules import Ask, Endpoint, Model, check, living
from imagesdk.emulator.state import EmulatorState, RequestRecord
from imagesdk.emulator.uploads import Pictures, decode
from imagesdk.emulator.usage import usage_of

__all__ = ["FORBIDDEN_WORD", "WRONG_KEY", "create_app"]

FORBIDDEN_WORD = "forbidden"
"""A prompt with this word is rejected by the emulated moderation."""
WRONG_KEY = "sk-invalid"
"""Where a key is required, any is right but this one."""

_REAL_KEY = re.compile(r"bearer +sk-[\w-]{40,}", re.IGNORECASE | re.ASCII)
"""The keys of the maker have more characters than anyone types."""
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]", "testserver"})
_ORGANIZATION = "org-emulator"
_logger = logging.getLogger("imagesdk")


def create_app(
    *,
    limit: str | None = "50/min",
    seed: int = 0,
    as_of: date | None = None,
    require_key: bool = False,
    clock: Callable[[], float] = time.time,
    state: EmulatorState | None = None,
    allow_remote: bool = False,
) -> Starlette:
    """Build the application.

    Args:
        limit: Pictures per time: ``"50/min"``, ``"10/s"``, ``"50/10s"``; ``None`` for no limit.
        seed: Another seed gives other pictures for the same prompts.
        as_of: Be the API of that day: its models and parameters. ``None`` serves every model there is.
        require_key: Answer 401 to requests without a key, and to the key :data:`WRONG_KEY`.
        clock: Seconds since the epoch, for the limit and for the life of result URLs.
        state: Where to remember what happened; by default a new one, found at ``app.state.emulator``.
        allow_remote: Serve any ``Host``. Otherwise only loopback names, so that no web page can reach it.

    Raises:
        ValueError: ``limit`` cannot be read.
    """
    memory = state if state is not None else EmulatorState()
    memory.window = ImageWindow(limit, clock) if limit is not None else None
    memory.results = ResultStore(clock)
    service = _Service(memory, clock, seed, as_of)
    routes = [
        *(
            Route(f"/v1/images/{endpoint}", partial(service.images, endpoint), methods=["POST"])
            for endpoint in ("generations", "edits", "variations")
        ),
        Route("/images/{name}", service.download, methods=["GET"]),
        Route("/v1/models", service.models, methods=["GET"]),
        Route("/v1/models/{name}", service.model, methods=["GET"]),
        Route("/healthz", _healthz, methods=["GET"]),
    ]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(_Wire, memory=memory, require_key=require_key, allow_remote=allow_remote)],
        exception_handlers={
            Refusal: _refused,
            HTTPException: _no_such_route,
            ClientDisconnect: _left,
            Exception: _crashed,
        },
    )
    app.router.redirect_slashes = False
    app.state.emulator = memory
    return app


@frozen
class _Service:
    """The endpoints."""

    memory: EmulatorState
    clock: Callable[[], float]
    seed: int
    day: date | None

    async def images(self, endpoint: Endpoint, request: Request) -> Response:
        """Answer an image request, well or as a queued fault wants it."""
        fault = self.memory.faults.take()
        if fault is not None and fault.instead:
            with contextlib.suppress(Refusal):
                await self._read(endpoint, request)
            return fault.answer()
        try:
            response = await self._work(endpoint, request)
        except Refusal as refusal:
            refusal.headers.update(self._limit_headers())
            raise
        response.headers.update(self._limit_headers())
        return response if fault is None else fault.answer(response)

    async def download(self, request: Request) -> Response:
        """Answer with the picture behind a result URL; errors look like those of the maker's storage."""
        fault = self.memory.faults.take(downloads=True)
        if fault is not None and fault.instead:
            return fault.answer()
        response = self._stored(request)
        return response if fault is None else fault.answer(response)

    async def models(self, request: Request) -> Response:
        """List the models of the day."""
        return JSONResponse({"object": "list", "data": [_described(model) for model in living(self.day)]})

    async def model(self, request: Request) -> Response:
        """Describe one model."""
        name = request.path_params["name"]
        for model in living(self.day):
            if name in {model.name, *model.aliases}:
                return JSONResponse({**_described(model), "id": name})
        raise model_not_found(name)

    async def _work(self, endpoint: Endpoint, request: Request) -> Response:
        body = await self._read(endpoint, request)
        ask = check(endpoint, body.fields, self.day)
        record: RequestRecord = request.state.record
        record.model, record.n = ask.model_name, ask.n
        pictures = await anyio.to_thread.run_sync(self._decoded, ask, body)
        _moderate(ask, request.state.request_id)
        if self.memory.window is not None:
            self.memory.window.take(ask.n)
        self.memory.billed_images += ask.n
        created = int(self.clock())
        painted = [
            await anyio.to_thread.run_sync(self._painted, ask, pictures, index) for index in range(ask.n)
        ]
        answer = await anyio.to_thread.run_sync(
            self._answer, ask, pictures, painted, created, _origin(request)
        )
        return JSONResponse(answer)

    async def _read(self, endpoint: Endpoint, request: Request) -> Body:
        body = await read_body(
            request, "application/json" if endpoint == "generations" else "multipart/form-data"
        )
        record: RequestRecord = request.state.record
        model, n, prompt = (body.fields.values.get(name, [None])[0] for name in ("model", "n", "prompt"))
        record.model = model if isinstance(model, str) else None
        record.n = int(str(n)) if re.fullmatch(r"\d{1,9}", str(n), re.ASCII) else None
        record.prompt = prompt if isinstance(prompt, str) else None
        return body

    def _decoded(self, ask: Ask, body: Body) -> Pictures:
        rule = ask.model.uploads.get(ask.endpoint)
        return Pictures() if rule is None else decode(body, rule, self.day)

    def _painted(self, ask: Ask, pictures: Pictures, index: int) -> bytes:
        brush = Brush(self.seed, ask.model.name, ask.size)
        if ask.endpoint == "generations":
            transparent = ask.text("background") == "transparent"
            picture = brush.paint(ask.prompt, index, transparent=transparent)
        elif ask.endpoint == "edits":
            picture = brush.edit(pictures.images[0], pictures.mask, ask.prompt, index)
        else:
            picture = brush.vary(pictures.images[0], index)
        return encode(picture, ask.text("output_format", "png"), ask.number("output_compression", 100))

    def _answer(
        self, ask: Ask, pictures: Pictures, painted: list[bytes], created: int, origin: str
    ) -> dict[str, object]:
        if ask.text("response_format") == "url":
            return {
                "created": created,
                "data": [{"url": origin + self.memory.results.put(png)} for png in painted],
            }
        data = [{"b64_json": b64encode(picture).decode("ascii")} for picture in painted]
        if not ask.model.tokens:
            return {"created": created, "data": data}
        quality = ask.text("quality", "auto")
        return {
            "created": created,
            "background": "transparent" if ask.text("background") == "transparent" else "opaque",
            "data": data,
            "output_format": ask.text("output_format", "png"),
            "quality": "medium" if quality == "auto" else quality,
            "size": "{}x{}".format(*ask.size),
            "usage": usage_of(ask, [image.size for image in pictures.images]),
        }

    def _limit_headers(self) -> dict[str, str]:
        return {} if self.memory.window is None else self.memory.window.headers()

    def _stored(self, request: Request) -> Response:
        found = self.memory.results.get(request.path_params["name"], request.query_params)
        if isinstance(found, bytes):
            return Response(found, media_type="image/png")
        now = datetime.fromtimestamp(self.clock(), UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        if found == "gone":
            text = azure_error("BlobNotFound", "The specified blob does not exist.")
            return Response(text, 404, media_type="application/xml")
        reason = "Signature did not match."
        if found == "expired":
            end = request.query_params.get("se", "")
            reason = f"Signature not valid in the specified time frame: Expiry [{end}] - Current [{now}]"
        text = azure_error(
            "AuthenticationFailed",
            "Server failed to authenticate the request. Make sure the value of Authorization header is formed "
            "correctly including the signature.",
            reason,
        )
        return Response(text, 403, media_type="application/xml")


class _Wire:
    """What every request and answer goes through: the record, the host, the key, the maker's headers."""

    def __init__(
        self,
        app: ASGIApp,
        memory: EmulatorState,
        require_key: bool,
        allow_remote: bool,
    ) -> None:
        self._app = app
        self._memory = memory
        self._require_key = require_key
        self._allow_remote = allow_remote
        self._warned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        record = RequestRecord(
            method=scope["method"],
            path=scope["path"],
            user_agent=headers.get("user-agent"),
            idempotency_key=headers.get("idempotency-key"),
            authorized="authorization" in headers,
        )
        self._memory.remember(record)
        if not self._warned and _REAL_KEY.match(headers.get("authorization", "")):
            self._warned = True
            _logger.warning(
                "a key that looks real came with a request; the emulator keeps none and needs none: any text will do"
            )
        request_id = f"req_{uuid.uuid4().hex}"
        scope.setdefault("state", {}).update(record=record, request_id=request_id)
        began = time.perf_counter()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                answer = MutableHeaders(scope=message)
                answer.setdefault("x-request-id", request_id)
                answer.setdefault("openai-processing-ms", str(round((time.perf_counter() - began) * 1000)))
                answer.setdefault("openai-version", "2020-10-01")
                answer.setdefault("openai-organization", _ORGANIZATION)
            await send(message)

        refusal = self._refusal(scope["path"], headers)
        if refusal is None:
            await self._app(scope, receive, send_with_headers)
            return
        await drain(Request(scope, receive))
        await _answer_to(refusal)(scope, receive, send_with_headers)

    def _refusal(self, path: str, headers: Headers) -> Refusal | None:
        host = re.sub(r":\d+\Z", "", headers.get("host", "")).lower()
        if not self._allow_remote and host not in _LOOPBACK:
            return Refusal(
                "The emulator answers to loopback host names only.", status=HTTPStatus.MISDIRECTED_REQUEST
            )
        if not self._require_key or not path.startswith("/v1/"):
            return None
        scheme, _, key = headers.get("authorization", "").partition(" ")
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


def _moderate(ask: Ask, request_id: str) -> None:
    if re.search(rf"\b{FORBIDDEN_WORD}\b", ask.prompt, re.IGNORECASE) is None:
        return
    if not ask.model.tokens:
        raise Refusal(
            "Your request was rejected as a result of our safety system. Your prompt may contain text that is not "
            "allowed by our safety system.",
            code="content_policy_violation",
        )
    raise Refusal(
        "Your request was rejected by the safety system. If you believe this is an error, contact us at "
        f"help.openai.com and include the request ID {request_id}. safety_violations=[violence].",
        type="image_generation_user_error",
        code="moderation_blocked",
        details={"moderation_details": {"moderation_stage": "input", "categories": ["violence"]}},
    )


def _origin(request: Request) -> str:
    return f"{request.url.scheme}://{request.headers['host']}"


def _described(model: Model) -> dict[str, object]:
    released = datetime(model.released.year, model.released.month, model.released.day, tzinfo=UTC)
    return {
        "id": model.name,
        "object": "model",
        "created": int(released.timestamp()),
        "owned_by": "system",
        "shutdown_date": None if model.shut_down is None else model.shut_down.isoformat(),
    }


def _answer_to(refusal: Refusal) -> Response:
    return JSONResponse(refusal.body(), refusal.status, refusal.headers)


async def _healthz(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _refused(request: Request, error: Exception) -> Response:
    return _answer_to(error) if isinstance(error, Refusal) else await _crashed(request, error)


async def _no_such_route(request: Request, error: Exception) -> Response:
    await drain(request)
    status = error.status_code if isinstance(error, HTTPException) else 404
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    what = "method for URL" if status == 405 else "URL"
    return _answer_to(
        Refusal(f"Invalid {what} ({request.method} {request.url.path})", status=status, headers=headers)
    )


async def _left(request: Request, error: Exception) -> Response:
    # Nobody reads it: the client went away in the middle of its request.
    return Response(status_code=499)


async def _crashed(request: Request, error: Exception) -> Response:
    return _answer_to(
        Refusal(
            "The server had an error while processing your request",
            status=500,
            type="server_error",
            code="server_error",
        )
    )
