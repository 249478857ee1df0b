"""State of one call across its attempts."""

from __future__ import annotations

from typing import Any

from attrs import define

from imagesdk._engine.call import Call
from imagesdk.errors import APIError, LimitWaitError


@define
class CallState:
    """Counts, deadline and last error of one call."""

    deadline: float | None
    started_at: float
    started: int = 0
    """Attempts started."""
    counted: int = 0
    """Attempts that count against the policy: those that a rate limit rejected do not."""
    maybe_billed_retries: int = 0
    """Retries after an attempt that may have been billed."""
    maybe_billed: bool = False
    """Whether any failed attempt may have been billed."""
    last_error: APIError | None = None
    """The error of the latest attempt that was retried."""
    maybe_billed_before: bool = False
    """Whether an attempt before the current one may have been billed in addition to it."""

    def remaining(self, now: float) -> float | None:
        """Return the seconds until the deadline; ``None`` without one."""
        return None if self.deadline is None else self.deadline - now

    def attempt_deadline(self, call: Call[Any], now: float) -> float | None:
        """Return the deadline of an attempt that starts now; ``None`` without one."""
        if call.timeouts.attempt is None:
            return self.deadline
        end = now + call.timeouts.attempt
        return end if self.deadline is None else min(end, self.deadline)


def limit_error(error: LimitWaitError, call: Call[Any], state: CallState) -> APIError:
    """Return the error of a call that cannot wait for the rate limit; raise it from ``state.last_error``."""
    history = (
        "Nothing was sent."
        if state.last_error is None
        else "It had been sent before, and failed: see the cause."
    )
    return annotate_error(
        LimitWaitError(f"{error.summary} {history}", retry_after=error.retry_after, remedies=error.remedies),
        call,
        state,
    )


def annotate_error(error: APIError, call: Call[Any], state: CallState) -> APIError:
    """Add the facts of the call to an error that ends it, and return the error."""
    error.attempts = state.started
    error.idempotency_key = call.idempotency_key
    error.client_request_id = call.client_request_id
    error.maybe_billed = (error.maybe_billed or state.maybe_billed) and call.request.billed
    return error
