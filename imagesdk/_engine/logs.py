"""What is written to the log of ``imagesdk`` about calls: while they wait, are made again, and when they have ended.

Rule: no key, no prompt, no picture and no query of a URL, so that a log can be kept and shown. Errors are named by their
class, because what a server says may repeat the prompt.
"""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlsplit

from imagesdk._engine.call import Call
from imagesdk._engine.state import CallState
from imagesdk._protocol.requests import Request
from imagesdk.errors import APIError, APIStatusError

_logger = logging.getLogger("imagesdk")
_ID_SHOWN = 200
"""Characters of a request id, which is whatever the server sends."""


def log_wait(seconds: float, reason: str, place: int) -> None:
    """Tell that a call stands in line."""
    _logger.info(
        "waiting about %.0f s for %s, behind %d others (rate_limit= changes the limit)",
        seconds,
        reason,
        place,
    )


def log_retry(call: Call[Any], course: CallState, error: APIError, *, billable: bool, then: str) -> None:
    """Tell that an attempt failed and another will be made."""
    _logger.log(
        logging.WARNING if billable else logging.INFO,
        "attempt %d of %s failed (%s)%s; trying again %s",
        course.started,
        urlsplit(call.request.path).path,
        type(error).__name__,
        " and may have been billed" if billable else "",
        then,
    )


def log_success(
    call: Call[Any], course: CallState, now: float, *, status: int | None, request_id: str | None
) -> None:
    """Tell that a call has ended well."""
    if _logger.isEnabledFor(logging.DEBUG):
        _logger.debug(
            "%s succeeded after %.1f s (status %s, %s, request id %s)",
            _named(call.request),
            now - course.started_at,
            status,
            _attempts(course),
            _shown(request_id),
        )


def log_failure(
    call: Call[Any],
    course: CallState,
    now: float,
    error: Exception,
    *,
    status: int | None = None,
    request_id: str | None = None,
) -> None:
    """Tell that a call has failed for good; ``status`` and ``request_id`` are for an error that has none."""
    if isinstance(error, APIError):
        request_id = error.request_id or request_id
    if isinstance(error, APIStatusError):
        status = error.status_code
    _logger.info(
        "%s failed after %.1f s: %s%s (status %s, %s, request id %s)",
        _named(call.request),
        now - course.started_at,
        type(error).__name__,
        ", may have been billed" if isinstance(error, APIError) and error.maybe_billed else "",
        status or "none",
        _attempts(course),
        _shown(request_id),
    )


def _named(request: Request) -> str:
    return f"{request.method} {urlsplit(request.path).path}"


def _attempts(course: CallState) -> str:
    return "1 attempt" if course.started == 1 else f"{course.started} attempts"


def _shown(request_id: str | None) -> str:
    if not request_id:
        return "none"
    return "".join(each if each.isprintable() else "?" for each in request_id[:_ID_SHOWN])
