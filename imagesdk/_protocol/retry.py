"""May a failed attempt be made again, and when: pure decisions over what happened.

Every failure belongs to one class, which says what may have been billed:

=============  ==================================================================  ================
class          what happened                                                       billed
=============  ==================================================================  ================
never_sent     no connection, or the request was not sent whole                    no
refused        the server answered that it will not do it (4xx, 429)               no
unknown        sent, and then no answer, or an answer of 5xx                       perhaps
lost           the server answered with success, and the answer cannot be read     yes
=============  ==================================================================  ================

A 5xx is not free: servers that fail after the work was done have been measured.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from attrs import frozen

from imagesdk.errors import (
    APIConnectionError,
    APIError,
    APIResponseError,
    APIStatusError,
    OutcomeUnknownError,
    QuotaExceededError,
    RateLimitError,
)
from imagesdk.policies import RetryPolicy

FailureClass: TypeAlias = Literal["never_sent", "refused", "unknown", "lost"]

_TRANSIENT_REFUSALS = frozenset({408, 409, 425})
_DOUBLINGS = 60
"""A power beyond any delay, and far from what a float cannot hold."""


@frozen
class Failure:
    """One attempt that failed, and what the server said about trying again."""

    error: APIError
    kind: FailureClass
    retry_after: float | None = None
    """Seconds that the server asks to wait."""
    should_retry: bool | None = None
    """The server's own advice (``x-should-retry``)."""
    never_fits: bool = False
    """A limit that this request can never meet, however long it waits."""


@frozen
class Again:
    """Make the attempt again after ``delay`` seconds."""

    delay: float


@frozen
class WaitForLimit:
    """Stand in line again: the limit was hit, which uses up no attempt."""

    retry_after: float | None


@frozen
class GiveUp:
    """Raise the error."""


Decision: TypeAlias = Again | WaitForLimit | GiveUp


def classify(error: APIError) -> FailureClass:
    """Return the class of a failure from its error."""
    if isinstance(error, APIStatusError):
        return "unknown" if error.status_code >= 500 else "refused"
    if isinstance(error, OutcomeUnknownError):
        return "unknown"
    if isinstance(error, APIConnectionError):
        return "never_sent"
    return "lost" if isinstance(error, APIResponseError) else "unknown"


def decide(
    failure: Failure,
    *,
    policy: RetryPolicy,
    attempt: int,
    ambiguous: int,
    limited: bool,
    remaining: float | None,
    chance: float,
) -> Decision:
    """Decide what follows the failure of attempt number ``attempt`` (from 1).

    Args:
        failure: what happened.
        policy: the caller's terms.
        attempt: attempts that count so far, this one included.
        ambiguous: how many attempts before this one may have been billed and were repeated all the same.
        limited: whether a rate limit stands in front, in which an answer of 429 can wait.
        remaining: seconds left of the total time, or ``None`` without a limit.
        chance: a random number from 0 to 1, for jitter.
    """
    error = failure.error
    if failure.never_fits or isinstance(error, QuotaExceededError) or failure.should_retry is False:
        return GiveUp()
    if isinstance(error, RateLimitError) and limited:
        return WaitForLimit(failure.retry_after)
    if attempt >= policy.max_attempts:
        return GiveUp()
    if failure.kind in {"unknown", "lost"}:
        if policy.delivery == "at_most_once" or ambiguous >= policy.max_ambiguous:
            return GiveUp()
    elif failure.kind == "refused" and not (
        isinstance(error, RateLimitError)
        or (isinstance(error, APIStatusError) and error.status_code in _TRANSIENT_REFUSALS)
        or failure.should_retry
    ):
        return GiveUp()
    delay = failure.retry_after
    if delay is not None and delay > policy.max_retry_after:
        return GiveUp()
    # Full jitter, https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    backoff = chance * min(policy.backoff * 2 ** min(attempt - 1, _DOUBLINGS), policy.max_backoff)
    delay = backoff if delay is None else delay + backoff
    return GiveUp() if remaining is not None and delay >= remaining else Again(delay)
