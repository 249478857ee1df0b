"""Endpoints below ``/_emulator``, by which programs in any language read and control an emulator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import anyio.to_thread
from attrs import frozen
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from imagesdk.emulator.answers import Refusal
from imagesdk.emulator.batch_faults import read_batch_fault
from imagesdk.emulator.bodies import read_body
from imagesdk.emulator.fault_words import read_fault
from imagesdk.emulator.options import read_options
from imagesdk.emulator.snapshots import restore, take
from imagesdk.emulator.state import EmulatorState

__all__ = ["control_routes"]


def control_routes(state: EmulatorState) -> list[Route]:
    """Return the routes of the endpoints."""
    control = _Control(state)
    return [
        Route("/_emulator/requests", control.requests, methods=["GET"]),
        Route("/_emulator/verdict", control.verdict, methods=["GET"]),
        Route("/_emulator/faults", control.faults, methods=["GET", "POST", "DELETE"]),
        Route("/_emulator/reset", control.reset, methods=["POST"]),
        Route("/_emulator/snapshot", control.snapshot, methods=["GET", "POST"]),
    ]


@frozen
class _Control:
    state: EmulatorState

    async def requests(self, request: Request) -> Response:
        after = request.query_params.get("after", "0")
        first = int(after) if after.isdecimal() else 0
        records = [record.to_json() for record in self.state.requests if record.number > first]
        return JSONResponse({"data": records, "billed_images": self.state.billed_images})

    async def verdict(self, request: Request) -> Response:
        ignored = request.query_params.getlist("ignore")
        verdict = await anyio.to_thread.run_sync(lambda: self.state.verdict(ignore=ignored))
        return JSONResponse({**verdict.to_json(), "text": str(verdict)})

    async def faults(self, request: Request) -> Response:
        """Queue the fault of the body, or those of its ``faults``; return what is queued."""
        faults = self.state.faults
        if request.method == "DELETE":
            faults.clear()
        elif request.method == "POST":
            given = await _object(request)
            listed = given.get("faults", [given])
            try:
                objects = _objects(listed)
                batched = [read_batch_fault(_objects([one["batch"]])[0]) for one in objects if "batch" in one]
                requested = [read_fault(one) for one in objects if "batch" not in one]
            except ValueError as error:
                raise _invalid("fault", error) from None
            for fault, times in batched:
                faults.add_batch(fault, times)
            for one in requested:
                faults.add(one.fault, one.on, one.times)
        return JSONResponse({"data": [{"on": on, "fault": name} for on, name in faults.queued()]})

    async def reset(self, request: Request) -> Response:
        """Return to the state after the start, with the options of the body."""
        sent = "content-type" in request.headers
        given = await _object(request) if sent else dict[str, object]()
        try:
            options = read_options(given)
            if options and self.state.configure is None:
                raise ValueError("an application without a server of the emulator has fixed options")
            if self.state.configure is not None:
                self.state.configure(options)
        except ValueError as error:
            raise _invalid("options", error) from None
        self.state.reset()
        return JSONResponse({"object": "reset", "options": given})

    async def snapshot(self, request: Request) -> Response:
        """Return a snapshot of the state, or restore one."""
        if request.method == "POST":
            given = await _object(request)
            try:
                await anyio.to_thread.run_sync(restore, self.state, given)
            except ValueError as error:
                raise _invalid("snapshot", error) from None
        return JSONResponse(await anyio.to_thread.run_sync(take, self.state))


async def _object(request: Request) -> Mapping[str, object]:
    body = await read_body(request, "application/json")
    return {name: values[0] for name, values in body.fields.values.items()}


def _objects(value: object) -> list[Mapping[str, object]]:
    listed = cast("list[object]", value) if isinstance(value, list) else []
    found = [cast("Mapping[str, object]", one) for one in listed if isinstance(one, dict)]
    if not found or len(found) != len(listed):
        raise ValueError("faults is a list of objects")
    return found


def _invalid(param: str, error: ValueError) -> Refusal:
    return Refusal(f"Invalid {param}: {error}.", param=param, code="invalid_value")
