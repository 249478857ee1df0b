"""Log records of calls: waits, retries, and how a call ended.

Records contain no key, no prompt, no image and no query of a URL, so that a log can be shown to others. Errors are named
by their class, because the message of a server may repeat the prompt.
"""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlsplit

from imagesdk._engine.state import CallState
from imagesdk.errors import APIError, APIStatusError, excerpt

_logger = logging.getLogger("imagesdk")
_MAX_ID = 200
"""Characters of a request id that are logged: the server may send any text."""


def log_wait(seconds: float, reason: str, place: int) -> None:
    """Log that a call waits in the queue of the rate limit."""
    message = "waiting about %.0f s for %s, behind %d others (rate_limit= changes the limit)"
    _logger.info(message, seconds, reason, place)


def log_retry(state: CallState[Any], error: APIError, *, billable: bool, then: str) -> None:
    """Log that an attempt failed and will be retried."""
    _logger.log(
        logging.WARNING if billable else logging.INFO,
        "attempt %d of %s failed (%s)%s; trying again %s",
        state.started,
        urlsplit(state.call.request.path).path,
        type(error).__name__,
        " and may have been billed" if billable else "",
        then,
    )


def log_end(
    state: CallState[Any],
    now: float,
    error: Exception | None,
    status: int | None = None,
    request_id: str | None = None,
) -> None:
    """Log a success, or a failure; ``status`` and ``request_id`` are used where the error has none."""
    level, outcome, reason = logging.DEBUG, "succeeded", ""
    if error is not None:
        level, outcome, reason = logging.INFO, "failed", f": {type(error).__name__}"
    if not _logger.isEnabledFor(level):
        return
    if isinstance(error, APIError):
        request_id = error.request_id or request_id
        reason += ", may have been billed" if error.maybe_billed else ""
    if isinstance(error, APIStatusError):
        status = error.status_code
    request = state.call.request
    _logger.log(
        level,
        "%s %s %s after %.1f s%s (status %s, %s, request id %s)",
        request.method,
        urlsplit(request.path).path,
        outcome,
        now - state.started_at,
        reason,
        status or "none",
        "1 attempt" if state.started == 1 else f"{state.started} attempts",
        excerpt(request_id or "none", _MAX_ID),
    )
