"""State of one call across its attempts."""

from __future__ import annotations

from typing import Generic

from attrs import define

from imagesdk._engine.call import Call, Result, T
from imagesdk._engine.permit import CallPermit
from imagesdk.errors import APIError, LimitWaitError


@define
class CallState(Generic[T]):
    """A call under way: its permit, its counts and its last error."""

    call: Call[T]
    permit: CallPermit
    started_at: float
    started: int = 0
    counted: int = 0
    """Attempts that count against the policy: those that a rate limit rejected do not."""
    maybe_billed_retries: int = 0
    """Retries after an attempt that may have been billed."""
    maybe_billed: bool = False
    """Whether any failed attempt may have been billed."""
    maybe_billed_before: bool = False
    """Whether an attempt before the current one may have been billed in addition to it."""
    last_error: APIError | None = None
    result: Result[T] | None = None
    """The response, once the call has ended with one."""

    def remaining(self, now: float) -> float | None:
        """Return the seconds until the deadline; ``None`` without one."""
        return None if self.call.deadline is None else self.call.deadline - now

    def attempt_deadline(self, now: float) -> float | None:
        """Return the deadline of an attempt that starts now; ``None`` without one."""
        deadline, seconds = self.call.deadline, self.call.timeouts.attempt
        if seconds is None:
            return deadline
        return now + seconds if deadline is None else min(now + seconds, deadline)

    def limit_error(self, error: LimitWaitError) -> APIError:
        """Return the error of a call that cannot wait for the rate limit."""
        sent_before = "It had been sent before, and failed: see the cause."
        summary = f"{error.summary} {sent_before if self.last_error else 'Nothing was sent.'}"
        return self.annotate(LimitWaitError(summary, retry_after=error.retry_after, remedies=error.remedies))

    def annotate(self, error: APIError) -> APIError:
        """Add the facts of the call to an error that ends it, and return the error."""
        error.attempts = self.started
        error.idempotency_key = self.call.idempotency_key
        error.client_request_id = self.call.client_request_id
        error.maybe_billed = (error.maybe_billed or self.maybe_billed) and self.call.request.billed
        return error
