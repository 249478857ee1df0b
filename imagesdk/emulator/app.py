"""ASGI application: its routes, and the endpoints for results, files and models."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from functools import partial

import anyio.to_thread
from attrs import frozen
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from imagesdk.emulator.answers import (
    Refusal,
    invalid_type,
    missing_parameter,
    model_not_found,
    unknown_parameter,
)
from imagesdk.emulator.batch_requests import BatchRequests
from imagesdk.emulator.batches import BatchStore
from imagesdk.emulator.bodies import drain, read_body
from imagesdk.emulator.clock import VirtualClock
from imagesdk.emulator.contents import ContentResponse
from imagesdk.emulator.control import control_routes
from imagesdk.emulator.faults import FaultTarget
from imagesdk.emulator.files import MAX_FILE, FileStore, read_upload
from imagesdk.emulator.images import Images
from imagesdk.emulator.limits import CoolingWindow, ImageWindow, UploadWindow
from imagesdk.emulator.log import RequestRecord, describe_body
from imagesdk.emulator.models import Model, models_on
from imagesdk.emulator.moderation import FORBIDDEN_WORD
from imagesdk.emulator.page import page_routes
from imagesdk.emulator.parameters import Choice, Integer
from imagesdk.emulator.provenance import read_checked_file
from imagesdk.emulator.quirks import Quirk, find
from imagesdk.emulator.results import ResultStore, azure_error
from imagesdk.emulator.state import FAULT_HEADER, EmulatorState
from imagesdk.emulator.webhooks import WEBHOOK_SECRET, WebhookSender
from imagesdk.emulator.wire import WRONG_KEY, ApiMiddleware, exception_handlers

__all__ = ["FORBIDDEN_WORD", "WEBHOOK_SECRET", "WRONG_KEY", "create_app"]


def create_app(
    *,
    limit: str | None = "50/min",
    seed: int = 0,
    as_of: date | None = None,
    require_key: bool = False,
    done_marker: bool = False,
    verified: bool = True,
    clock: Callable[[], float] = time.time,
    state: EmulatorState | None = None,
    allow_remote: bool = False,
    quirks: str | None = None,
    upload_limit: str | None = "1000/min",
    file_ranges: bool = False,
    batch_delay: float = 0,
    batch_tokens: int | None = None,
    batch_drawings: int = 8,
    poll_after_ms: int | None = None,
    webhook_url: str | None = None,
    webhook_secret: str = WEBHOOK_SECRET,
) -> Starlette:
    """Build the application.

    Args:
        limit: Images per time window: ``"50/min"``, ``"10/s"`` or ``"50/10s"``. ``None`` and ``"none"`` mean
            no limit.
        seed: Seed of the drawings. Another seed draws other images for the same prompts.
        as_of: Day whose API to emulate, with its models and parameters. ``None`` serves every model.
        require_key: Whether requests without a key, or with the key :data:`WRONG_KEY`, are answered with 401.
        done_marker: Whether every stream ends with ``data: [DONE]``, as on some servers but not on OpenAI's.
        verified: Whether the organization is verified. If not, GPT Image models are answered with 403.
        clock: Seconds since the epoch, for the rate limit, batches and the lifetime of result URLs and files. What
            :meth:`Emulator.advance` adds is on top of it.
        state: Record of requests and queue of faults. The default is a new one, at ``app.state.emulator``.
        allow_remote: Whether to serve any ``Host``. By default only loopback names are served, so that no web
            page can reach the emulator.
        quirks: Name of another server of the Images API, from :data:`imagesdk.emulator.quirks.QUIRKS`.
        upload_limit: Uploads of files per time window, in the form of ``limit``.
        file_ranges: Whether a part of a file can be downloaded with a ``Range`` header. Otherwise it is ignored.
        batch_delay: Seconds from the creation of a batch to its end, on the clock. After 24 hours a batch expires.
        batch_tokens: Input tokens of all waiting batches of a model, above which a batch fails with
            ``token_limit_exceeded``.
        batch_drawings: Different drawings of each kind in a batch, which its later lines repeat. Drawing takes time.
        webhook_url: URL to which a signed webhook is sent when a batch ends.
        webhook_secret: Signing secret of the webhooks. The default is :data:`WEBHOOK_SECRET`.
        poll_after_ms: Value of the header ``openai-poll-after-ms`` of responses about a batch that has not ended.

    Raises:
        ValueError: If ``limit`` or ``upload_limit`` cannot be parsed, ``batch_delay`` is negative, or ``quirks`` is not a
            known server.
    """
    quirk = find(quirks)
    state = state if state is not None else EmulatorState()
    state.clock = clock = VirtualClock(clock)
    state.window = None
    if limit is not None and limit != "none":
        cooldown = quirk.cooldown
        state.window = CoolingWindow(limit, clock, cooldown) if cooldown else ImageWindow(limit, clock)
    state.results = ResultStore(clock)
    state.files = FileStore(clock)
    if not batch_delay >= 0:
        raise ValueError(f"batch_delay is a number of seconds of at least 0, not {batch_delay!r}")
    state.batches.close()
    sender = None if webhook_url is None else WebhookSender(webhook_url, webhook_secret)
    state.batches = BatchStore(
        clock,
        state.files,
        token_limit=batch_tokens,
        sender=sender,
        expires=not quirk.deployments,  # those of Azure do not: learn.microsoft.com/azure/ai-foundry/openai/how-to/batch
        drawings=batch_drawings,
    )
    state.uploads = (
        None if upload_limit is None or upload_limit == "none" else UploadWindow(upload_limit, clock)
    )
    images = Images(state, clock, seed, as_of, done_marker, verified, quirk)
    service = _Service(state, clock, as_of, file_ranges)
    batches = BatchRequests(
        state, clock, seed, as_of, verified, batch_delay, poll_after_ms, quirk.deployments
    )
    download, files = partial(service.faulty, "downloads", service.stored), partial(service.faulty, "files")
    contents = partial(service.faulty, "contents", service.content)
    checks = partial(service.faulty, "checks", service.provenance)
    root = quirk.root
    routes = [
        *(
            Route(path, partial(images.respond, endpoint), methods=["POST"])
            for endpoint in quirk.accepts
            for path in quirk.paths(endpoint)
        ),
        Route(quirk.urls.partition("?")[0], download, methods=["GET"]),
        Route(f"{root}/files", partial(files, service.files), methods=["GET", "POST"]),
        Route(f"{root}/files/{{name}}", partial(files, service.file), methods=["GET", "DELETE"]),
        Route(f"{root}/files/{{name}}/content", contents, methods=["GET"]),
        *(
            [
                Route(f"{root}/content_provenance_checks", checks, methods=["POST"]),
                Route("/openapi.json", partial(_described, as_of, quirk), methods=["GET"]),
            ]
            if quirk.openai and not quirk.deployments
            else []
        ),
        *(
            batches.routes(root, lambda target, answer: partial(service.faulty, target, answer))
            if quirk.openai
            else []
        ),
        Route(f"{root}/models", service.models, methods=["GET"]),
        Route(f"{root}/models/{{name}}", service.model, methods=["GET"]),
        Route("/healthz", _healthz, methods=["GET"]),
        Route("/_emulator/clock", service.time, methods=["GET", "POST"]),
        *control_routes(state),
        *page_routes(
            state,
            tuple(model.name for model in models_on(as_of)),
            None if quirk.deployments else quirk.paths("generations")[0],
        ),
    ]
    guard = Middleware(ApiMiddleware, state, require_key, allow_remote, quirk.refuse, root)
    app = Starlette(routes=routes, middleware=[guard], exception_handlers=exception_handlers(quirk.refuse))
    app.router.redirect_slashes = False
    app.state.emulator = state
    return app


@frozen
class _Service:
    """Endpoints that return no new images."""

    state: EmulatorState
    clock: Callable[[], float]
    day: date | None
    ranges: bool

    async def models(self, request: Request) -> Response:
        data = [_model_json(model, name) for model in models_on(self.day) for name in model.names]
        return JSONResponse({"object": "list", "data": data})

    async def model(self, request: Request) -> Response:
        name = request.path_params["name"]
        for model in models_on(self.day):
            if name in model.names:
                return JSONResponse(_model_json(model, name))
        raise model_not_found(name)

    async def faulty(
        self, target: FaultTarget, answer: Callable[[Request], Awaitable[Response]], request: Request
    ) -> Response:
        """Return the response of ``answer``, or that of the queued fault."""
        record: RequestRecord = request.state.record
        record.download = target == "downloads"
        fault = self.state.take_fault(record, target)
        if fault is None:
            fault = self.state.requested_fault(record, request.headers.get(FAULT_HEADER))
        if fault is not None and fault.replaces_work:
            await drain(request)
            return fault.response()
        response = await answer(request)
        return response if fault is None else fault.response(response)

    async def files(self, request: Request) -> Response:
        if request.method == "POST":
            body = await read_body(request, "multipart/form-data", only_file=MAX_FILE)
            await anyio.to_thread.run_sync(describe_body, request.state.record, body)
            upload = read_upload(body)
            if self.state.uploads is not None:
                self.state.uploads.take(1)
            return JSONResponse(self.state.files.add(*upload).to_json())
        query = request.query_params
        for name in query:
            if name not in {"purpose", "after", "limit", "order"}:
                raise unknown_parameter(name)
        limit = Integer(1, 10_000).read("limit", query.get("limit", "10000"), form=True)
        order = Choice(("asc", "desc")).read("order", query.get("order", "desc"), form=True)
        files = self.state.files
        return JSONResponse(files.page(query.get("purpose"), query.get("after"), limit, order))

    async def file(self, request: Request) -> Response:
        files, name = self.state.files, request.path_params["name"]
        return JSONResponse(files.delete(name) if request.method == "DELETE" else files.get(name).to_json())

    async def content(self, request: Request) -> Response:
        file = self.state.files.content(request.path_params["name"])
        return ContentResponse(file, wanted=request.headers.get("range") if self.ranges else None)

    async def provenance(self, request: Request) -> Response:
        data = read_checked_file(await read_body(request, "multipart/form-data", only_file=MAX_FILE))
        return JSONResponse(self.state.drawn.report(data, self.clock()))

    async def time(self, request: Request) -> Response:
        """Advance the clock by ``{"advance": seconds}``, and return the time."""
        if request.method == "POST":
            body = await read_body(request, "application/json")
            for name in body.fields.values:
                if name != "advance":
                    raise unknown_parameter(name)
            seconds = body.fields.first("advance")
            if isinstance(seconds, bool) or not isinstance(seconds, int | float):
                raise (
                    missing_parameter("advance")
                    if seconds is None
                    else invalid_type("advance", "a number", seconds)
                )
            try:
                self.state.clock.advance(seconds)
                await anyio.to_thread.run_sync(self.state.batches.update)
            except ValueError as error:
                raise Refusal(f"Invalid 'advance': {error}.", param="advance", code="invalid_value") from None
        return JSONResponse({"object": "clock", "now": self.state.clock()})

    async def stored(self, request: Request) -> Response:
        found = self.state.results.get(request.path_params["name"], request.query_params)
        if isinstance(found, bytes):
            return Response(found, media_type="image/png")
        if found == "gone":
            text = azure_error("BlobNotFound", "The specified blob does not exist.")
            return Response(text, 404, media_type="application/xml")
        request.state.record.expired = found == "expired"
        reason = "Signature did not match."
        if found == "expired":
            now = datetime.fromtimestamp(self.clock(), UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
            end = request.query_params.get("se", "")
            reason = f"Signature not valid in the specified time frame: Expiry [{end}] - Current [{now}]"
        text = azure_error(
            "AuthenticationFailed",
            "Server failed to authenticate the request. Make sure the value of Authorization header is formed "
            "correctly including the signature.",
            reason,
        )
        return Response(text, 403, media_type="application/xml")


def _model_json(model: Model, name: str) -> dict[str, object]:
    released = datetime.combine(model.profile.released or date.min, datetime.min.time(), UTC)
    shut_down = model.profile.shut_down
    return {
        "id": name,
        "object": "model",
        "created": int(released.timestamp()),
        "owned_by": "system",
        "shutdown_date": None if shut_down is None else shut_down.isoformat(),
    }


async def _described(day: date | None, quirk: Quirk, request: Request) -> Response:
    from imagesdk.emulator.openapi import openapi_document  # not needed to start

    return JSONResponse(openapi_document(day, quirk))


async def _healthz(request: Request) -> Response:
    return JSONResponse({"status": "ok"})
