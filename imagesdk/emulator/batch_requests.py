"""Endpoints of the Batch API: create, describe, list and cancel."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import date
from typing import TypeAlias, cast

import anyio.to_thread
from attrs import frozen
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from imagesdk.emulator.answers import (
    Refusal,
    invalid_type,
    missing_parameter,
    out_of_bounds,
    unknown_parameter,
)
from imagesdk.emulator.batch_input import ENDPOINTS, BatchInput
from imagesdk.emulator.batch_results import BatchWork
from imagesdk.emulator.batches import FINAL, Batch
from imagesdk.emulator.bodies import Body, read_body
from imagesdk.emulator.clock import VirtualClock
from imagesdk.emulator.faults import FaultTarget
from imagesdk.emulator.known_errors import organization_unverified
from imagesdk.emulator.parameters import Choice, Integer, Text, object_members
from imagesdk.emulator.references import ReferencedImages
from imagesdk.emulator.rules import CheckedRequest, Fields
from imagesdk.emulator.state import EmulatorState
from imagesdk.emulator.uploads import InputImages, decode
from imagesdk.emulator.wire import origin_of

__all__ = ["BATCHES_SINCE", "BatchRequests"]

Answer: TypeAlias = Callable[[Request], Awaitable[Response]]
BATCHES_SINCE = date(2024, 4, 15)
"""Day of the Batch API: https://developers.openai.com/docs/changelog."""
_IMAGES_SINCE = date(2026, 2, 10)  # openai-python 2.20.0
_OTHERS = (
    "/v1/responses",
    "/v1/chat/completions",
    "/v1/embeddings",
    "/v1/completions",
    "/v1/moderations",
)
_LIFE = 30 * 24 * 3600
_FIELDS = ("input_file_id", "endpoint", "completion_window")
_OPTIONAL = ("metadata", "output_expires_after")
_MAX_PAIRS, _MAX_KEY, _MAX_VALUE = 16, 64, 512


@frozen
class BatchRequests:
    """Requests about batches."""

    state: EmulatorState
    clock: VirtualClock
    seed: int
    day: date | None
    verified: bool
    delay: float
    poll_after_ms: int | None
    deployments: bool

    def routes(self, root: str, faulty: Callable[[FaultTarget, Answer], Answer]) -> list[Route]:
        """Return the routes below ``root``. ``faulty`` adds the faults of a kind of request."""
        if self.day is not None and self.day < BATCHES_SINCE:
            return []
        create, look = faulty("batches", self.create), faulty("polls", self.look)

        async def listed(request: Request) -> Response:
            return await (create if request.method == "POST" else look)(request)

        cancel = faulty("cancels", self.cancel)
        return [
            Route(f"{root}/batches", listed, methods=["GET", "POST"]),  # one route, which knows both methods
            Route(f"{root}/batches/{{name}}", look, methods=["GET"]),
            Route(f"{root}/batches/{{name}}/cancel", cancel, methods=["POST"]),
        ]

    async def create(self, request: Request) -> Response:
        """Create a batch."""
        body = await read_body(request, "application/json")
        return self._answer(await anyio.to_thread.run_sync(self._create, body.fields, origin_of(request)))

    async def look(self, request: Request) -> Response:
        """Describe one batch, or a page of all."""
        name = request.path_params.get("name")
        if name is not None:
            return self._answer(await anyio.to_thread.run_sync(self.state.batches.describe, name))
        query = request.query_params
        for given in query:
            if given not in {"after", "limit"}:
                raise unknown_parameter(given)
        limit = Integer(1, 100).read("limit", query.get("limit", "20"), form=True)
        return JSONResponse(
            await anyio.to_thread.run_sync(self.state.batches.page, query.get("after"), limit)
        )

    async def cancel(self, request: Request) -> Response:
        """Cancel a batch."""
        return self._answer(
            await anyio.to_thread.run_sync(self.state.batches.cancel, request.path_params["name"])
        )

    def _answer(self, batch: Mapping[str, object]) -> Response:
        response = JSONResponse(batch)
        if self.poll_after_ms is not None and batch["status"] not in FINAL:
            response.headers["openai-poll-after-ms"] = str(self.poll_after_ms)
        return response

    def _create(self, fields: Fields, origin: str) -> Mapping[str, object]:
        for name in fields.values:
            if name not in {*_FIELDS, *_OPTIONAL}:
                raise unknown_parameter(name)
        for name in _FIELDS:
            if fields.first(name) is None:
                raise missing_parameter(name)
        url = self._endpoint(fields.first("endpoint"))
        Choice(("24h",)).read("completion_window", fields.first("completion_window"), form=False)
        metadata = _metadata(fields.first("metadata"))
        life = _life(fields.first("output_expires_after"))
        name = Text().read("input_file_id", fields.first("input_file_id"), form=False)
        try:
            file = self.state.files.get(name)
        except Refusal as missing:
            raise Refusal(missing.message, param="input_file_id", code="invalid_value") from missing
        if file.purpose != "batch":
            text = f"Invalid purpose of file '{name}': '{file.purpose}'. The purpose must be 'batch'."
            raise Refusal(text, param="input_file_id", code="invalid_value")
        store = self.state.batches
        batch_id, created = f"batch_{secrets.token_hex(16)}", int(self.clock())
        given = BatchInput(file.data, url, self.day, self.deployments)
        fault = self.state.faults.take_batch()
        batch = Batch(
            id=batch_id,
            input_file_id=name,
            metadata=metadata,
            input=given,
            work=BatchWork(
                given,
                self.seed,
                decode=self._decoder(origin),
                made=self._bill,
                remember=self.state.drawn.remember,
                allowance=store.allowance,
                key=batch_id,
                created=created,
            ),
            fault=fault,
            created_at=created,
            delay=self.delay if fault.delay is None else fault.delay,
            output_life=life,
            dice=f"{self.seed}/{len(store)}",
        )
        return store.add(batch)

    def _endpoint(self, given: object) -> str:
        known = (*_OTHERS, *ENDPOINTS) if self.day is None or self.day >= _IMAGES_SINCE else _OTHERS
        url = Choice(known).read("endpoint", given, form=False)
        if url not in ENDPOINTS:
            raise Refusal(
                "The emulator serves batches of images only.", param="endpoint", code="invalid_value"
            )
        return url

    def _decoder(self, origin: str) -> Callable[[CheckedRequest, Fields], InputImages]:
        def decoded(checked: CheckedRequest, fields: Fields) -> InputImages:
            if checked.model.tokens and not self.verified:
                raise organization_unverified(checked.model_name)
            rule = checked.model.uploads.get(checked.endpoint)
            if rule is None:
                return InputImages()
            referenced = ReferencedImages(origin, self.state.files, self.state.results)
            return decode(Body(fields, referenced.sent(fields)), rule, self.day)

        return decoded

    def _bill(self, checked: CheckedRequest, usage: Mapping[str, object], custom_id: str) -> None:
        self.state.bill.add("batch", checked, usage, custom_id)


def _metadata(value: object) -> Mapping[str, str] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise invalid_type("metadata", "an object", value)
    given = cast("Mapping[str, object]", value)
    if len(given) > _MAX_PAIRS:
        expected = f"an object with maximum {_MAX_PAIRS} properties"
        problem, found = "too many properties", f"an object with {len(given)} properties"
        raise out_of_bounds("metadata", problem, expected, found, "object_above_max_properties")
    for name, text in given.items():
        if len(name) > _MAX_KEY:
            expected = f"a string with maximum length {_MAX_KEY}"
            problem, found = "property name too long", f"a string with length {len(name)}"
            raise out_of_bounds("metadata", problem, expected, found, "property_name_above_max_length")
        Text(_MAX_VALUE, minimum=0).read(f"metadata.{name}", text, form=False)
    return cast("Mapping[str, str]", given)


def _life(value: object) -> int:
    if value is None:
        return _LIFE
    given = object_members("output_expires_after", value, {"anchor", "seconds"})
    for name in ("anchor", "seconds"):
        if given.get(name) is None:
            raise missing_parameter(f"output_expires_after.{name}")
    Choice(("created_at",)).read("output_expires_after.anchor", given["anchor"], form=False)
    return Integer(3600, _LIFE).read("output_expires_after.seconds", given["seconds"], form=False)
