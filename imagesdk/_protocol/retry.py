"""Retry decisions: whether and when to repeat a failed attempt.

Pure functions. The class of a failure states what may have been billed:

=============  ==================================================================  ================
class          meaning                                                             billed
=============  ==================================================================  ================
never_sent     no connection, or the request was sent only in part                 no
refused        the server rejected the request (4xx)                               no
unknown        the request was sent, but no response arrived, or a 5xx             perhaps
unreadable     a success status arrived, but no image that can be read             yes
=============  ==================================================================  ================

A 5xx may be billed: servers fail after generating the images, too.

:func:`decide` applies the first matching rule:

====================================================================  =============
condition                                                             decision
====================================================================  =============
limit always exceeded, quota used up, or ``x-should-retry: false``    ``GiveUp``
429, and the request holds a permit of a rate limit                   ``Requeue``
no attempts left                                                      ``GiveUp``
unreadable, unless it costs nothing or the server is idempotent       ``GiveUp``
unknown and maybe billed, and no such retry is left                   ``GiveUp``
refused, except 408, 409, 425, 429 or ``x-should-retry: true``        ``GiveUp``
the delay exceeds ``max_retry_after`` or the remaining time           ``GiveUp``
the retry throttle is closed                                          ``GiveUp``
any other                                                             ``RetryAfter``
====================================================================  =============
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from attrs import evolve, frozen

from imagesdk import errors
from imagesdk._protocol.server_limits import NO_SERVER_LIMITS, ServerLimits
from imagesdk.policies import PERSISTENT_ATTEMPTS, Delivery, RetryPolicy

FailureClass: TypeAlias = Literal["never_sent", "refused", "unknown", "unreadable"]

UNCOUNTED_STATUSES = frozenset({401, 404, 405})
"""Responses to requests that no rate limit counts: the key, the model or the path does not exist, and has none."""
_TRANSIENT_REJECTIONS = frozenset({408, 409, 425})
_FREE_CONNECTION_FAILURES = 10
_MAX_DOUBLINGS = 60  # beyond any delay, and far below the range of a float


@frozen
class Failure:
    """A failed attempt with the server's hints for a retry."""

    error: errors.APIError
    kind: FailureClass
    server_limits: ServerLimits = NO_SERVER_LIMITS
    should_retry: bool | None = None
    """The server's advice (``x-should-retry``)."""
    never_fits: bool = False
    """Whether the request exceeds the rate limit by itself, so that waiting does not help."""

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asks to wait."""
        return self.server_limits.wait


@frozen
class RetryAfter:
    """Repeat the attempt after ``delay`` seconds."""

    delay: float


@frozen
class Requeue:
    """Return to the queue of the rate limit. A rejection by the limit uses up no attempt."""

    server_limits: ServerLimits


@frozen
class GiveUp:
    """Raise the error."""

    throttled: bool = False
    """Whether only the retry throttle prevents a retry."""


Decision: TypeAlias = RetryAfter | Requeue | GiveUp


def classify(error: errors.APIError) -> FailureClass:
    """Return the class of a failure from its error."""
    if isinstance(error, errors.APIStatusError):
        return "unknown" if error.status_code >= 500 else "refused"
    if isinstance(error, errors.OutcomeUnknownError):
        return "unknown"
    if isinstance(error, errors.APIConnectionError):
        return "never_sent"
    return "unreadable" if isinstance(error, errors.APIResponseError) else "unknown"


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
    """Decide what follows a failed attempt, by the table of the module. ``chance``, from 0 to 1, is for jitter."""
    error = failure.error
    if failure.never_fits or isinstance(error, errors.QuotaExceededError) or failure.should_retry is False:
        return GiveUp()
    if isinstance(error, errors.RateLimitError) and limited and failure.kind == "refused":
        return Requeue(failure.server_limits)
    if attempt >= policy.max_attempts:
        return GiveUp()
    maybe_billed = billed and failure.kind in {"unknown", "unreadable"} and not policy.server_idempotent
    if maybe_billed and (
        failure.kind == "unreadable"
        or policy.delivery == "at_most_once"
        or maybe_billed_retries >= policy.max_ambiguous
    ):
        return GiveUp()
    status = error.status_code if isinstance(error, errors.APIStatusError) else None
    transient = isinstance(error, errors.RateLimitError) or status in _TRANSIENT_REJECTIONS
    if failure.kind == "refused" and not transient and not failure.should_retry:
        return GiveUp()
    delay = failure.retry_after
    if delay is not None and delay > policy.max_retry_after:
        return GiveUp()
    delay = (delay or 0.0) + backoff(policy, attempt, chance)
    if remaining is not None and delay >= remaining:
        return GiveUp()
    if throttle is not None and not throttle.allows(failure):
        return GiveUp(throttled=True)
    return RetryAfter(delay)


def backoff(policy: RetryPolicy, attempt: int, chance: float) -> float:
    """Return the seconds to wait after attempt number ``attempt``: exponential backoff with full jitter."""
    # https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    return chance * min(policy.backoff * 2.0 ** min(attempt - 1, _MAX_DOUBLINGS), policy.max_backoff)


def policy_of_run(policy: RetryPolicy, delivery: Delivery) -> RetryPolicy:
    """Return the retry policy for a job of a run: the client's policy, adjusted to the delivery mode of the run."""
    if delivery == "at_most_once":
        return evolve(policy, delivery=delivery)
    attempts = max(policy.max_attempts, PERSISTENT_ATTEMPTS)
    return evolve(policy, delivery=delivery, max_attempts=attempts, max_ambiguous=attempts)


class RetryThrottle:
    """Limit of the retries of all calls of one client, to spare a server that is down.

    Tokens as in https://github.com/grpc/proposal/blob/master/A6-client-retries.md. Retries are allowed while more than half
    of the capacity is left.

    ============================================  ===================
    event                                         tokens
    ============================================  ===================
    success                                       + ``refill``
    ``unknown`` or ``unreadable``                 - 1
    ``never_sent``, after ten in succession       - 1
    ``refused``                                   0
    ============================================  ===================
    """

    def __init__(self, capacity: float, refill: float) -> None:
        self._capacity = capacity
        self._refill = refill
        self._left = capacity
        self._never_sent = 0

    def record_failure(self, failure: Failure) -> None:
        """Record a failed attempt."""
        self._never_sent += failure.kind == "never_sent"
        if not self._is_free(failure):
            self._left = max(0.0, self._left - 1)

    def record_success(self) -> None:
        """Record a successful attempt."""
        self._never_sent = 0
        self._left = min(self._capacity, self._left + self._refill)

    def allows(self, failure: Failure) -> bool:
        """Whether a retry may follow this failure."""
        return self._is_free(failure) or self._left > self._capacity / 2

    def _is_free(self, failure: Failure) -> bool:
        few = failure.kind == "never_sent" and self._never_sent <= _FREE_CONNECTION_FAILURES
        return few or failure.kind == "refused"
