"""Endpoints below ``/_emulator``, by which programs in any language read and control an emulator."""

from __future__ import annotations

from attrs import frozen
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from imagesdk.emulator.state import EmulatorState

__all__ = ["control_routes"]


def control_routes(state: EmulatorState) -> list[Route]:
    """Return the routes of the endpoints."""
    control = _Control(state)
    return [
        Route("/_emulator/requests", control.requests, methods=["GET"]),
        Route("/_emulator/verdict", control.verdict, methods=["GET"]),
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
        return JSONResponse(self.state.verdict().to_json())
