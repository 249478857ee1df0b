"""Error bodies of different servers: each function converts a :class:`Refusal` to one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from starlette.responses import HTMLResponse, JSONResponse, Response

from imagesdk.emulator.answers import Refusal

__all__ = ["Shape", "as_azure", "as_detail", "as_google", "as_number", "as_object", "as_success", "as_text"]

Shape: TypeAlias = Callable[[Refusal], Response]
"""Converts a :class:`Refusal` to a response."""

_MODERATION = frozenset({"moderation_blocked", "content_policy_violation"})
_FILTERS = ("hate", "jailbreak", "self_harm", "sexual", "violence")
_GOOGLE_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
}


def as_object(refusal: Refusal) -> Response:
    """Return ``{"error": {"message", "type", "param", "code"}}``: OpenAI and most others."""
    return JSONResponse(refusal.body(), refusal.status, refusal.headers)


def as_text(refusal: Refusal) -> Response:
    """Return ``{"error": "text"}``: stable-diffusion.cpp."""
    return JSONResponse({"error": refusal.message}, refusal.status, refusal.headers)


def as_detail(refusal: Refusal) -> Response:
    """Return ``{"detail": ...}``: FastAPI, with a list and status 422 for an invalid parameter."""
    if refusal.status != 400 or refusal.param is None:
        return JSONResponse({"detail": refusal.message}, refusal.status, refusal.headers)
    where = {"loc": ["body", refusal.param], "msg": refusal.message, "type": refusal.code or "value_error"}
    return JSONResponse({"detail": [where]}, 422, refusal.headers)


def as_number(refusal: Refusal) -> Response:
    """Return an object with the status as its code and an empty type: LocalAI."""
    error = {"code": refusal.status, "message": refusal.message, "type": ""}
    return JSONResponse({"error": error}, refusal.status, refusal.headers)


def as_google(refusal: Refusal) -> Response:
    """Return a list of an object with a numeric code, and the delay in its details: Gemini."""
    status = _GOOGLE_STATUS.get(refusal.status, "INTERNAL")
    error: dict[str, object] = {"code": refusal.status, "message": refusal.message, "status": status}
    headers = dict(refusal.headers)
    if (wait := headers.pop("retry-after", None)) is not None:
        kind = "type.googleapis.com/google.rpc.RetryInfo"
        error["details"] = [{"@type": kind, "retryDelay": f"{wait}s"}]
    return JSONResponse([{"error": error}], refusal.status, headers)


def as_azure(refusal: Refusal) -> Response:
    """Return OpenAI's object, or one with ``inner_error`` for content filters: Azure."""
    if refusal.code not in _MODERATION:
        return as_object(refusal)
    named = str(refusal.details.get("moderation_details")).replace("-", "_")
    error = {
        "code": "content_policy_violation",
        "inner_error": {
            "code": "ResponsibleAIPolicyViolation",
            "content_filter_results": {name: {"filtered": name in named} for name in _FILTERS},
        },
        "message": "Your request was rejected as a result of our safety system.",
        "type": "invalid_request_error",
    }
    return JSONResponse({"error": error}, refusal.status, refusal.headers)


def as_success(refusal: Refusal) -> Response:
    """Return the error with status 200, or an HTML page for an unknown URL: gateways."""
    if refusal.status == 404:
        page = f"<html><head><title>404 Not Found</title></head><body>{refusal.status}</body></html>"
        return HTMLResponse(page, 404)
    named = {"param": refusal.param or "", "code": refusal.code or refusal.status}
    error = {"message": refusal.message, "type": "upstream_error", **named}
    return JSONResponse({"error": error}, 200, refusal.headers)
