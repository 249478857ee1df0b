"""State of one call across its attempts."""

from __future__ import annotations

from typing import Any

from attrs import define

from imagesdk._engine.call import Call, T
from imagesdk.errors import APIError, LimitWaitError


@define
class CallState:
    """How a call has gone so far."""

    deadline: float | None
    started_at: float
    started: int = 0
    """Attempts begun."""
    counted: int = 0
    """Attempts that count against the policy: those that a rate limit refused do not."""
    maybe_billed_retries: int = 0
    maybe_billed: bool = False
    last_error: APIError | None = None
    """What the latest attempt that was followed by another ended with."""
    maybe_billed_before: bool = False
    """Whether an attempt before the present one may have been billed besides it."""

    def remaining(self, now: float) -> float | None:
        """Return the seconds that are left; ``None`` for no end."""
        return None if self.deadline is None else self.deadline - now

    def attempt_timeout(self, call: Call[Any], now: float) -> float | None:
        """Return the seconds that an attempt may take which begins now."""
        limits = [each for each in (call.timeouts.attempt, self.remaining(now)) if each is not None]
        return min(limits) if limits else None


def limit_error(error: LimitWaitError, call: Call[T], course: CallState) -> APIError:
    """Tell an error of the limit what its call came to before."""
    came_to = (
        "Nothing was sent."
        if course.last_error is None
        else "It had been sent before, and failed: see the cause."
    )
    found = annotate_error(
        LimitWaitError(f"{error.summary} {came_to}", retry_after=error.retry_after, remedies=error.remedies),
        call,
        course,
    )
    found.__cause__ = course.last_error
    return found


def annotate_error(error: APIError, call: Call[T], course: CallState) -> APIError:
    """Tell an error that ends a call what its attempts came to."""
    error.attempts = course.started
    error.idempotency_key = call.idempotency_key
    error.client_request_id = call.client_request_id
    error.maybe_billed = (error.maybe_billed or course.maybe_billed) and call.request.billed
    return error
