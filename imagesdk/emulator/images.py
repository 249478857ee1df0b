"""Endpoints for images: from the bytes of a request to its response.

A request is read, checked, decoded, counted against the limit, billed, drawn and answered, in this order. A
rejected request is neither counted nor billed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date

import anyio.to_thread
from attrs import evolve, frozen
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from imagesdk.emulator.answers import Refusal
from imagesdk.emulator.bodies import Body, drain, read_body
from imagesdk.emulator.drawing.painting import Painting
from imagesdk.emulator.faults import Fault
from imagesdk.emulator.known_errors import organization_unverified
from imagesdk.emulator.log import RequestRecord, describe_body
from imagesdk.emulator.models import Endpoint
from imagesdk.emulator.moderation import moderate_input, moderate_output
from imagesdk.emulator.quirks import Quirk, resolve_deployment
from imagesdk.emulator.references import ReferencedImages
from imagesdk.emulator.rules import CheckedRequest, Fields, check, variations_are_over
from imagesdk.emulator.state import FAULT_HEADER, EmulatorState
from imagesdk.emulator.streaming import EventStream
from imagesdk.emulator.uploads import InputImages, decode
from imagesdk.emulator.usage import usage_of
from imagesdk.emulator.wire import origin_of

__all__ = ["Images"]


@frozen
class Images:
    """Generations, edits and variations."""

    state: EmulatorState
    clock: Callable[[], float]
    seed: int
    day: date | None
    done_marker: bool
    verified: bool
    quirk: Quirk

    async def respond(self, endpoint: Endpoint, request: Request) -> Response:
        """Return the response to a request, or that of its queued fault."""
        if endpoint == "variations" and variations_are_over(self.day):
            await drain(request)
            return Response(status_code=404)
        record: RequestRecord = request.state.record
        fault = self.state.take_fault(record)
        try:
            body = await self._read(endpoint, request)
        except Refusal as refusal:
            if fault is not None and fault.replaces_work:
                return fault.response()
            refusal.headers.update(self._limit_headers())
            raise
        if fault is None:
            fault = self.state.requested_fault(record, request.headers.get(FAULT_HEADER))
        if fault is not None and fault.replaces_work:
            return fault.response()
        try:
            response = await self._work(endpoint, body, request, fault or Fault())
        except Refusal as refusal:
            refusal.headers.update(self._limit_headers())
            raise
        response.headers.update(self._limit_headers())
        # EventStream applies the fault itself.
        return response if fault is None or isinstance(response, EventStream) else fault.response(response)

    async def _work(self, endpoint: Endpoint, body: Body, request: Request, fault: Fault) -> Response:
        checked, name = self._check(endpoint, body.fields, request)
        record: RequestRecord = request.state.record
        record.model, record.n = name, checked.n
        if checked.model.tokens and not self.verified:
            raise organization_unverified(checked.model_name)
        inputs = await anyio.to_thread.run_sync(self._decode, checked, body, origin_of(request))
        moderate_input(checked, request.state.request_id)
        if self.state.window is not None:
            self.state.window.take(checked.n, name)
        self._bill(checked, inputs, fault)
        record.billed = checked.n
        created = int(self.clock())

        def remember(data: bytes) -> None:
            self.state.drawn.remember(data, checked.model_name, created)
            self.state.exhibits.keep_image(record.id, data)

        painting = Painting(checked, inputs, self.seed, request.state.request_id, created, remember)
        if checked.streams and not fault.forbids_stream:
            events = painting.events(fault.max_partials)
            return EventStream(events, self.state, record, fault=fault, done_marker=self.done_marker)
        painted = [await anyio.to_thread.run_sync(painting.encoded, index) for index in range(checked.n)]
        origin = origin_of(request)
        if not self.quirk.openai:
            moderate_output(checked, request.state.request_id)
            return self.quirk.answer(checked, painted, painting.created, self.state.results.put, origin)

        def keep(data: bytes) -> str:
            return origin + self.state.results.put(data)

        return JSONResponse(await anyio.to_thread.run_sync(painting.answer, painted, keep))

    def _check(self, endpoint: Endpoint, fields: Fields, request: Request) -> tuple[CheckedRequest, str]:
        """Return the checked request, and the model name that its client uses."""
        if self.quirk.deployments:
            fields, name = resolve_deployment(fields, request.path_params, request.query_params)
            return check(endpoint, fields, self.day), name
        openai = self.quirk.openai
        checked = check(endpoint, fields, self.day) if openai else self.quirk.check(endpoint, fields)
        return checked, checked.model_name

    async def _read(self, endpoint: Endpoint, request: Request) -> Body:
        body = await read_body(request, *self.quirk.accepts[endpoint])
        body = evolve(body, fields=self.quirk.to_openai(endpoint, body.fields))
        record: RequestRecord = request.state.record
        if body.files:
            await anyio.to_thread.run_sync(describe_body, record, body)
        else:
            describe_body(record, body)
        model, n, prompt = map(body.fields.first, ("model", "n", "prompt"))
        record.model = model if isinstance(model, str) else None
        record.n = int(str(n)) if re.fullmatch(r"\d{1,9}", str(n), re.ASCII) else None
        record.prompt = prompt if isinstance(prompt, str) else None
        return body

    def _bill(self, checked: CheckedRequest, inputs: InputImages, fault: Fault) -> None:
        usage: Mapping[str, object] | None = None
        if checked.model.tokens:
            partials = (
                checked.number("partial_images", 0) if checked.streams and not fault.forbids_stream else 0
            )
            usage = usage_of(checked, [image.size for image in inputs.images], partials)
        self.state.bill.add("live", checked, usage)

    def _decode(self, checked: CheckedRequest, body: Body, origin: str) -> InputImages:
        rule = checked.model.uploads.get(checked.endpoint)
        if rule is None:
            return InputImages()
        if not body.fields.form:
            referenced = ReferencedImages(origin, self.state.files, self.state.results)
            body = evolve(body, files=referenced.sent(body.fields))
        return decode(body, rule, self.day)

    def _limit_headers(self) -> dict[str, str]:
        return {} if self.state.window is None else self.state.window.headers()
