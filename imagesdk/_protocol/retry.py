"""May a failed attempt be made again, and when: pure decisions over what happened.

Every failure belongs to one class, which says what may have been billed:

=============  ==================================================================  ================
class          what happened                                                       billed
=============  ==================================================================  ================
never_sent     no connection, or the request was not sent whole                    no
refused        the server answered that it will not do it (4xx, 429)               no
unknown        sent, and then no answer, or an answer of 5xx                       perhaps
unreadable     the server answered with success, and the answer cannot be read     yes
=============  ==================================================================  ================

A 5xx is not free: servers that fail after the work was done have been measured.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from attrs import evolve, frozen

from imagesdk._protocol.server_limits import NO_SERVER_LIMITS, ServerLimits
from imagesdk.errors import (
    APIConnectionError,
    APIError,
    APIResponseError,
    APIStatusError,
    OutcomeUnknownError,
    QuotaExceededError,
    RateLimitError,
)
from imagesdk.policies import PERSISTENT_ATTEMPTS, Delivery, RetryPolicy

FailureClass: TypeAlias = Literal["never_sent", "refused", "unknown", "unreadable"]

_TRANSIENT_REJECTIONS = frozenset({408, 409, 425})
_FREE_CONNECTION_FAILURES = 10
_MAX_DOUBLINGS = 60
"""A power beyond any delay, and far from what a float cannot hold."""


@frozen
class Failure:
    """One attempt that failed, and what the server said about trying again."""

    error: APIError
    kind: FailureClass
    server_limits: ServerLimits = NO_SERVER_LIMITS
    """What the server said about its limits, and about waiting."""
    should_retry: bool | None = None
    """The server's own advice (``x-should-retry``)."""
    never_fits: bool = False
    """A limit that this request can never meet, however long it waits."""

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asks to wait."""
        return self.server_limits.wait


@frozen
class RetryAfter:
    """Make the attempt again after ``delay`` seconds."""

    delay: float


@frozen
class Requeue:
    """Stand in line again: the limit was hit, which uses up no attempt."""

    server_limits: ServerLimits


@frozen
class GiveUp:
    """Raise the error."""

    throttled: bool = False
    """Whether the attempt would have been made again if fewer calls were failing."""


Decision: TypeAlias = RetryAfter | Requeue | GiveUp


def classify(error: APIError) -> FailureClass:
    """Return the class of a failure from its error."""
    if isinstance(error, APIStatusError):
        return "unknown" if error.status_code >= 500 else "refused"
    if isinstance(error, OutcomeUnknownError):
        return "unknown"
    if isinstance(error, APIConnectionError):
        return "never_sent"
    return "unreadable" if isinstance(error, APIResponseError) else "unknown"


def decide(
    failure: Failure,
    *,
    policy: RetryPolicy,
    attempt: int,
    maybe_billed_retries: int,
    limited: bool,
    remaining: float | None,
    chance: float,
    throttle: RetryThrottle | None = None,
    billed: bool = True,
) -> Decision:
    """Decide what follows the failure of attempt number ``attempt`` (from 1).

    Args:
        failure: what happened.
        policy: the caller's terms.
        attempt: attempts that count so far, this one included.
        maybe_billed_retries: how many earlier attempts may have been billed and were retried nevertheless.
        limited: whether a rate limit stands in front, in which an answer of 429 can wait.
        remaining: seconds left of the total time, or ``None`` without a limit.
        chance: a random number from 0 to 1, for jitter.
        throttle: the retry throttle of the client, in which this failure is already recorded.
        billed: whether the work costs money, so that it must not be repeated in silence.
    """
    error = failure.error
    if failure.never_fits or isinstance(error, QuotaExceededError) or failure.should_retry is False:
        return GiveUp()
    if isinstance(error, RateLimitError) and limited and failure.kind == "refused":
        return Requeue(failure.server_limits)
    if attempt >= policy.max_attempts:
        return GiveUp()
    maybe_billed = billed and failure.kind in {"unknown", "unreadable"} and not policy.server_idempotent
    if maybe_billed and (policy.delivery == "at_most_once" or maybe_billed_retries >= policy.max_ambiguous):
        return GiveUp()
    if failure.kind == "refused" and not (
        isinstance(error, RateLimitError)
        or (isinstance(error, APIStatusError) and error.status_code in _TRANSIENT_REJECTIONS)
        or failure.should_retry
    ):
        return GiveUp()
    delay = failure.retry_after
    if delay is not None and delay > policy.max_retry_after:
        return GiveUp()
    delay = (delay or 0.0) + backoff(policy, attempt, chance)
    if remaining is not None and delay >= remaining:
        return GiveUp()
    return (
        GiveUp(throttled=True) if throttle is not None and not throttle.allows(failure) else RetryAfter(delay)
    )


def backoff(policy: RetryPolicy, attempt: int, chance: float) -> float:
    """Return the seconds to wait after attempt number ``attempt``, by a random number from 0 to 1: full jitter.

    See https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    return chance * min(policy.backoff * 2.0 ** min(attempt - 1, _MAX_DOUBLINGS), policy.max_backoff)


def policy_of_run(policy: RetryPolicy, delivery: Delivery) -> RetryPolicy:
    """Return what holds for a job of a run that is to be delivered so, whatever the client's policy says of it."""
    if delivery == "at_most_once":
        return evolve(policy, delivery=delivery)
    attempts = max(policy.max_attempts, PERSISTENT_ATTEMPTS)
    return evolve(policy, delivery=delivery, max_attempts=attempts, max_ambiguous=attempts)


class RetryThrottle:
    """How many retries the calls of one client may make together, so that a server that is down is left alone.

    As in https://github.com/grpc/proposal/blob/master/A6-client-retries.md: a failure takes one from the budget, a
    success gives a part of one back, and below a half nothing is made again. Refusals take nothing. An attempt that
    never left takes nothing either, until ten of them have failed in a row.
    """

    def __init__(self, capacity: float, refill: float) -> None:
        self._capacity = capacity
        self._refill = refill
        self._left = capacity
        self._never_sent = 0

    def record_failure(self, failure: Failure) -> None:
        """Note a failure."""
        if failure.kind == "never_sent":
            self._never_sent += 1
        if failure.kind in {"unknown", "unreadable"} or (
            failure.kind == "never_sent" and self._never_sent > _FREE_CONNECTION_FAILURES
        ):
            self._left = max(0.0, self._left - 1)

    def record_success(self) -> None:
        """Note a success."""
        self._never_sent = 0
        self._left = min(self._capacity, self._left + self._refill)

    def allows(self, failure: Failure) -> bool:
        """Whether this failure may be followed by another attempt."""
        free = failure.kind == "refused" or (
            failure.kind == "never_sent" and self._never_sent <= _FREE_CONNECTION_FAILURES
        )
        return free or self._left > self._capacity / 2
