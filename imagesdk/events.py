"""Events for observers: frozen facts about a call, without keys, prompts or images.

An observer is a function in ``AsyncClient(observers=[...])``. It is called on the thread of the event loop and must not
block. An exception that it raises is logged and has no other effect.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from attrs import frozen

__all__ = [
    "ResponseReceived",
    "AttemptStarted",
    "Event",
    "LimitWaited",
    "LimitWaiting",
    "Observer",
    "RetryScheduled",
]


@frozen
class LimitWaiting:
    """A call starts to wait for the rate limit."""

    call_id: str
    images: int
    place: int
    """The number of calls before it in the queue."""
    seconds: float
    """The estimated wait."""
    reason: str
    """The reason for the wait, as a text."""


@frozen
class LimitWaited:
    """A call has waited for the rate limit, and is sent now."""

    call_id: str
    images: int
    waited: float
    """Seconds."""


@frozen
class AttemptStarted:
    """A request is about to be sent."""

    call_id: str
    method: str
    path: str
    attempt: int
    """From 1."""


@frozen
class ResponseReceived:
    """An attempt ended with a response of any status."""

    call_id: str
    attempt: int
    status_code: int
    request_id: str | None
    seconds: float
    """Seconds from the start of the attempt to the last byte."""


@frozen
class RetryScheduled:
    """An attempt failed, and the client will retry it."""

    call_id: str
    attempt: int
    """The number of the failed attempt."""
    delay: float
    """Seconds until the next attempt, without the wait for the rate limit."""
    reason: str
    """The class of the error, such as ``"RateLimitError"``."""
    maybe_billed: bool
    """Whether this attempt, or one before it, may have been billed."""


Event: TypeAlias = LimitWaiting | LimitWaited | AttemptStarted | ResponseReceived | RetryScheduled
"""The argument of an observer."""
Observer: TypeAlias = Callable[[Event], object]
