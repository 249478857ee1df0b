"""The three endpoints of pictures: the way of one request from its bytes to its answer.

A request is read, checked, decoded, let through the limit, billed, painted and answered, in this order: what is
refused is neither counted nor billed.
"""

from __future__ import annotations

import contextlib
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
from imagesdk.emulator.models import Endpoint
from imagesdk.emulator.moderation import judge_input, judge_output
from imagesdk.emulator.quirks import Quirk, deployed
from imagesdk.emulator.references import Library
from imagesdk.emulator.rules import Ask, Fields, check, variations_are_over
from imagesdk.emulator.state import EmulatorState, RequestRecord
from imagesdk.emulator.streaming import EventStream
from imagesdk.emulator.uploads import Pictures, decode
from imagesdk.emulator.wire import origin_of

__all__ = ["Images"]

_JSON, _FORM = "application/json", "multipart/form-data"
_ACCEPTED: Mapping[Endpoint, tuple[str, ...]] = {
    "generations": (_JSON,),
    "edits": (_JSON, _FORM),
    "variations": (_FORM,),
}


@frozen
class Images:
    """Generations, edits and variations."""

    memory: EmulatorState
    clock: Callable[[], float]
    seed: int
    day: date | None
    done_marker: bool
    verified: bool
    quirk: Quirk | None = None
    """Which other server to be."""

    async def respond(self, endpoint: Endpoint, request: Request) -> Response:
        """Answer a request, well or as a queued fault wants it."""
        if endpoint == "variations" and variations_are_over(self.day):
            await drain(request)
            return Response(status_code=404)
        fault = self.memory.faults.take()
        if fault is not None and fault.replaces_work:
            with contextlib.suppress(Refusal):
                await self._read(endpoint, request)
            return fault.response()
        try:
            response = await self._work(endpoint, request, fault or Fault())
        except Refusal as refusal:
            refusal.headers.update(self._limit_headers())
            raise
        response.headers.update(self._limit_headers())
        # A stream does its own mischief.
        return response if fault is None or isinstance(response, EventStream) else fault.response(response)

    async def _work(self, endpoint: Endpoint, request: Request, fault: Fault) -> Response:
        body = await self._read(endpoint, request)
        ask, name = self._asked(endpoint, body.fields, request)
        record: RequestRecord = request.state.record
        record.model, record.n = name, ask.n
        if ask.model.tokens and not self.verified:
            raise organization_unverified(ask.model_name)
        pictures = await anyio.to_thread.run_sync(self._decoded, ask, body, origin_of(request))
        judge_input(ask, request.state.request_id)
        if self.memory.window is not None:
            self.memory.window.take(ask.n)
        self.memory.billed_images += ask.n
        painting = Painting(ask, pictures, self.seed, request.state.request_id, int(self.clock()))
        if ask.streams and not fault.forbids_stream:
            events = painting.events(fault.max_partials)
            return EventStream(events, self.memory, record, fault=fault, done_marker=self.done_marker)
        painted = [await anyio.to_thread.run_sync(painting.encoded, index) for index in range(ask.n)]
        origin = origin_of(request)
        if self.quirk is not None and not self.quirk.azure:
            judge_output(ask, request.state.request_id)
            return self.quirk.answer(ask, painted, painting.created, self.memory.results.put, origin)

        def keep(data: bytes) -> str:
            return origin + self.memory.results.put(data)

        return JSONResponse(await anyio.to_thread.run_sync(painting.answer, painted, keep))

    def _asked(self, endpoint: Endpoint, fields: Fields, request: Request) -> tuple[Ask, str]:
        """Return the request after its check, and what its client calls the model."""
        if self.quirk is None:
            ask = check(endpoint, fields, self.day)
        elif self.quirk.azure:
            fields, name = deployed(fields, request.path_params, request.query_params)
            return check(endpoint, fields, self.day), name
        else:
            ask = self.quirk.ask(endpoint, fields)
        return ask, ask.model_name

    async def _read(self, endpoint: Endpoint, request: Request) -> Body:
        accepted = _ACCEPTED if self.quirk is None else self.quirk.accepts
        body = await read_body(request, *accepted[endpoint])
        if self.quirk is not None:
            body = evolve(body, fields=self.quirk.translated(endpoint, body.fields))
        record: RequestRecord = request.state.record
        model, n, prompt = (body.fields.values.get(name, [None])[0] for name in ("model", "n", "prompt"))
        record.model = model if isinstance(model, str) else None
        record.n = int(str(n)) if re.fullmatch(r"\d{1,9}", str(n), re.ASCII) else None
        record.prompt = prompt if isinstance(prompt, str) else None
        return body

    def _decoded(self, ask: Ask, body: Body, origin: str) -> Pictures:
        rule = ask.model.uploads.get(ask.endpoint)
        if rule is None:
            return Pictures()
        if not body.fields.form:
            library = Library(origin, self.memory.files, self.memory.results)
            body = evolve(body, files=library.sent(body.fields))
        return decode(body, rule, self.day)

    def _limit_headers(self) -> dict[str, str]:
        return {} if self.memory.window is None else self.memory.window.headers()
