"""Page at ``/`` for people: what was made, request and response of each, limit, clock, faults and verdict.

The page is one file without external resources (``page.html``, ``page.css``, ``page.js``). It asks for what has
changed and builds everything from text nodes, so a hostile prompt stays text.
"""

from __future__ import annotations

from typing import get_args

from attrs import frozen
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from imagesdk._media.web_pages import asset, page_head, page_script
from imagesdk.emulator.answers import Refusal
from imagesdk.emulator.fault_words import NAMED_FAULTS
from imagesdk.emulator.faults import FaultTarget
from imagesdk.emulator.known_errors import KNOWN_ERRORS
from imagesdk.emulator.log import RequestRecord
from imagesdk.emulator.state import EmulatorState

__all__ = ["page_routes"]

_ASSETS = ("imagesdk.emulator", "page")
_MOST = 500
"""Requests that the page shows."""
_HEADERS = {"x-frame-options": "DENY", "x-content-type-options": "nosniff", "cache-control": "no-store"}
_SEALED = {
    **_HEADERS,
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    "cache-control": "private, max-age=3600",
}
"""Headers of an image. An SVG that is opened by itself runs no script, and no other image has its address."""


def page_routes(state: EmulatorState, models: tuple[str, ...], generations: str | None) -> list[Route]:
    """Return the routes of the page. ``generations`` is the path to which it posts a prompt."""
    page = _Page(state, models, generations)
    return [
        Route("/", page.document, methods=["GET"]),
        Route("/_emulator/page", page.news, methods=["GET"]),
        Route("/_emulator/answers/{id}", page.answer, methods=["GET"]),
        Route("/_emulator/images/{id}/{index:int}", page.image, methods=["GET"]),
    ]


@frozen
class _Page:
    state: EmulatorState
    models: tuple[str, ...]
    generations: str | None

    async def document(self, request: Request) -> Response:
        head = page_head("Emulator of the Images API", *_ASSETS, connect="'self'")
        text = f"<!doctype html>\n{head}{asset(_ASSETS[0], 'page.html')}{page_script(*_ASSETS)}"
        return HTMLResponse(text, headers=_HEADERS)

    async def news(self, request: Request) -> Response:
        """Return what the page needs: requests after ``after``, those in ``open``, and the state of everything."""
        query, state = request.query_params, self.state
        after = _number(query.get("after", ""))
        unfinished = set(map(_number, query.get("open", "").split(",")))
        recent = state.requests[-_MOST:]
        news: dict[str, object] = {
            "epoch": state.exhibits.epoch,
            "now": state.clock(),
            "requests": [
                self._described(one) for one in recent if one.number > after or one.number in unfinished
            ],
            "limit": self._limit(),
            "faults": [{"on": on, "fault": name} for on, name in state.faults.queued()],
            "billed_images": state.billed_images,
            "dollars": f"{sum(state.bill.dollars.values()):.4f}",
            "open_streams": state.open_streams,
        }
        if not after:
            names = [*NAMED_FAULTS, *KNOWN_ERRORS]
            fixed = {"models": self.models, "generations": self.generations, "fault_names": names}
            news |= {**fixed, "targets": get_args(FaultTarget)}
        return JSONResponse(news, headers=_HEADERS)

    async def answer(self, request: Request) -> Response:
        found = self.state.exhibits.answer(request.path_params["id"])
        if found is None:
            raise Refusal("The response is not kept any more.", status=404)
        shown = {"status": found.status, "headers": dict(found.headers), "size": found.size}
        return JSONResponse({**shown, "text": found.text()}, headers=_HEADERS)

    async def image(self, request: Request) -> Response:
        found = self.state.exhibits.image(request.path_params["id"], request.path_params["index"])
        if found is None:
            raise Refusal("The image is not kept any more.", status=404)
        return Response(found[0], media_type=found[1], headers=_SEALED)

    def _described(self, record: RequestRecord) -> dict[str, object]:
        return record.to_json() | {"kept": self.state.exhibits.count(record.id)}

    def _limit(self) -> dict[str, object] | None:
        window = self.state.window
        if window is None:
            return None
        used, wait = window.usage()
        return {
            "limit": window.limit,
            "used": used,
            "seconds": window.seconds,
            "wait": wait,
        }


def _number(text: str) -> int:
    """Return the number of a request, or 0 for any other text."""
    return int(text) if text.isdecimal() and len(text) < 16 else 0
