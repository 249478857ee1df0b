"""Log records of calls: waits, retries, and how a call ended.

Records contain no key, no prompt, no image and no query of a URL, so that a log can be shown to others. Errors are named
by their class, because the message of a server may repeat the prompt.
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
_MAX_ID = 200
"""Characters of a request id that are logged: the server may send any text."""


def log_wait(seconds: float, reason: str, place: int) -> None:
    """Log that a call waits in the queue of the rate limit."""
    _logger.info(
        "waiting about %.0f s for %s, behind %d others (rate_limit= changes the limit)",
        seconds,
        reason,
        place,
    )


def log_retry(call: Call[Any], state: CallState, error: APIError, *, billable: bool, then: str) -> None:
    """Log that an attempt failed and will be retried."""
    _logger.log(
        logging.WARNING if billable else logging.INFO,
        "attempt %d of %s failed (%s)%s; trying again %s",
        state.started,
        urlsplit(call.request.path).path,
        type(error).__name__,
        " and may have been billed" if billable else "",
        then,
    )


def log_success(
    call: Call[Any], state: CallState, now: float, *, status: int | None, request_id: str | None
) -> None:
    """Log that a call succeeded."""
    if _logger.isEnabledFor(logging.DEBUG):
        _logger.debug(
            "%s succeeded after %.1f s (status %s, %s, request id %s)",
            _endpoint(call.request),
            now - state.started_at,
            status,
            _attempts(state),
            _printable(request_id),
        )


def log_failure(
    call: Call[Any],
    state: CallState,
    now: float,
    error: Exception,
    *,
    status: int | None = None,
    request_id: str | None = None,
) -> None:
    """Log that a call failed; ``status`` and ``request_id`` are used where the error has none."""
    if isinstance(error, APIError):
        request_id = error.request_id or request_id
    if isinstance(error, APIStatusError):
        status = error.status_code
    _logger.info(
        "%s failed after %.1f s: %s%s (status %s, %s, request id %s)",
        _endpoint(call.request),
        now - state.started_at,
        type(error).__name__,
        ", may have been billed" if isinstance(error, APIError) and error.maybe_billed else "",
        status or "none",
        _attempts(state),
        _printable(request_id),
    )


def _endpoint(request: Request) -> str:
    return f"{request.method} {urlsplit(request.path).path}"


def _attempts(state: CallState) -> str:
    return "1 attempt" if state.started == 1 else f"{state.started} attempts"


def _printable(request_id: str | None) -> str:
    if not request_id:
        return "none"
    return "".join(each if each.isprintable() else "?" for each in request_id[:_MAX_ID])
