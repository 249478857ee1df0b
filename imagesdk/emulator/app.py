"""The application: its routes, and the endpoints around the pictures: results, files and models."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from functools import partial

from attrs import frozen
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from imagesdk.emulator.answers import model_not_found, unknown_parameter
from imagesdk.emulator.bodies import drain, read_body
from imagesdk.emulator.error_shapes import as_object
from imagesdk.emulator.files import MAX_FILE, FileStore, read_upload
from imagesdk.emulator.images import Images
from imagesdk.emulator.limits import ImageWindow
from imagesdk.emulator.models import ENDPOINTS, Model, living
from imagesdk.emulator.moderation import FORBIDDEN_WORD
from imagesdk.emulator.parameters import Choice, Integer
from imagesdk.emulator.quirks import find
from imagesdk.emulator.results import ResultStore, azure_error
from imagesdk.emulator.state import EmulatorState
from imagesdk.emulator.wire import WRONG_KEY, Wire, handlers

__all__ = ["FORBIDDEN_WORD", "WRONG_KEY", "create_app"]


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
) -> Starlette:
    """Build the application.

    Args:
        limit: Pictures per time: ``"50/min"``, ``"10/s"``, ``"50/10s"``; ``None``, or ``"none"``, for no limit.
        seed: Another seed gives other pictures for the same prompts.
        as_of: Be the API of that day: its models and parameters. ``None`` serves every model there is.
        require_key: Answer 401 to requests without a key, and to the key :data:`WRONG_KEY`.
        done_marker: End every stream with ``data: [DONE]``, as some servers do and the API does not.
        verified: ``False`` answers 403 to the GPT Image models, as to an organization that is not verified.
        clock: Seconds since the epoch, for the limit and for the life of result URLs and files.
        state: Where to remember what happened; by default a new one, found at ``app.state.emulator``.
        allow_remote: Serve any ``Host``. Otherwise only loopback names, so that no web page can reach it.
        quirks: Be another server of the Images API, by its name in :data:`imagesdk.emulator.quirks.QUIRKS`.

    Raises:
        ValueError: ``limit`` cannot be read, or there are no ``quirks`` of the name.
    """
    quirk = None if quirks is None else find(quirks)
    memory = state if state is not None else EmulatorState()
    memory.window = None if limit is None or limit == "none" else ImageWindow(limit, clock)
    memory.results = ResultStore(clock)
    memory.files = FileStore(clock)
    images = Images(memory, clock, seed, as_of, done_marker, verified, quirk)
    shape = as_object if quirk is None else quirk.refuse
    service = _Service(memory, clock, as_of)
    root = "/v1" if quirk is None else quirk.root
    routes = [
        *(
            Route(path, partial(images.respond, endpoint), methods=["POST"])
            for endpoint in ENDPOINTS
            for path in ([f"/v1/images/{endpoint}"] if quirk is None else quirk.paths(endpoint))
            if quirk is None or endpoint in quirk.accepts
        ),
        Route(
            "/images/{name}" if quirk is None else quirk.urls.partition("?")[0],
            service.download,
            methods=["GET"],
        ),
        Route(f"{root}/files", service.files, methods=["GET", "POST"]),
        Route(f"{root}/files/{{name}}", service.file, methods=["GET", "DELETE"]),
        Route(f"{root}/files/{{name}}/content", service.content, methods=["GET"]),
        Route(f"{root}/models", service.models, methods=["GET"]),
        Route(f"{root}/models/{{name}}", service.model, methods=["GET"]),
        Route("/healthz", _healthz, methods=["GET"]),
    ]
    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(
                Wire,
                memory=memory,
                require_key=require_key,
                allow_remote=allow_remote,
                shape=shape,
                root=root,
            )
        ],
        exception_handlers=handlers(shape),
    )
    app.router.redirect_slashes = False
    app.state.emulator = memory
    return app


@frozen
class _Service:
    """The endpoints that make no pictures."""

    memory: EmulatorState
    clock: Callable[[], float]
    day: date | None

    async def download(self, request: Request) -> Response:
        """Answer with the picture behind a result URL; errors look like those of the maker's storage."""
        fault = self.memory.faults.take("downloads")
        if fault is not None and fault.replaces_work:
            return fault.response()
        response = self._stored(request)
        return response if fault is None else fault.response(response)

    async def files(self, request: Request) -> Response:
        """Keep an uploaded file, or list those that are kept."""
        return await self._faulty(request, self._upload if request.method == "POST" else self._page)

    async def file(self, request: Request) -> Response:
        """Describe a file, or delete it."""
        return await self._faulty(request, self._delete if request.method == "DELETE" else self._describe)

    async def content(self, request: Request) -> Response:
        """Answer with the bytes of a file."""
        return await self._faulty(request, self._content)

    async def models(self, request: Request) -> Response:
        """List the models of the day."""
        data = [_described(model, name) for model in living(self.day) for name in model.names]
        return JSONResponse({"object": "list", "data": data})

    async def model(self, request: Request) -> Response:
        """Describe one model."""
        name = request.path_params["name"]
        for model in living(self.day):
            if name in model.names:
                return JSONResponse(_described(model, name))
        raise model_not_found(name)

    async def _faulty(self, request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        fault = self.memory.faults.take("files")
        if fault is not None and fault.replaces_work:
            await drain(request)
            return fault.response()
        response = await answer(request)
        return response if fault is None else fault.response(response)

    async def _upload(self, request: Request) -> Response:
        body = await read_body(request, "multipart/form-data", max_file=MAX_FILE)
        return JSONResponse(self.memory.files.add(read_upload(body)).described())

    async def _page(self, request: Request) -> Response:
        query = request.query_params
        for name in query:
            if name not in {"purpose", "after", "limit", "order"}:
                raise unknown_parameter(name)
        limit = Integer(1, 10_000).read("limit", query.get("limit", "10000"), form=True)
        order = Choice(("asc", "desc")).read("order", query.get("order", "desc"), form=True)
        page = self.memory.files.page(
            purpose=query.get("purpose"), after=query.get("after"), limit=limit, order=order
        )
        return JSONResponse(page)

    async def _describe(self, request: Request) -> Response:
        return JSONResponse(self.memory.files.get(request.path_params["name"]).described())

    async def _delete(self, request: Request) -> Response:
        return JSONResponse(self.memory.files.delete(request.path_params["name"]))

    async def _content(self, request: Request) -> Response:
        data = self.memory.files.content(request.path_params["name"])
        return Response(data, media_type="application/octet-stream")

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


def _described(model: Model, name: str) -> dict[str, object]:
    released = datetime(model.released.year, model.released.month, model.released.day, tzinfo=UTC)
    return {
        "id": name,
        "object": "model",
        "created": int(released.timestamp()),
        "owned_by": "system",
        "shutdown_date": None if model.shut_down is None else model.shut_down.isoformat(),
    }


async def _healthz(request: Request) -> Response:
    return JSONResponse({"status": "ok"})
