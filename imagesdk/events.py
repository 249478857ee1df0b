"""What observers receive: frozen facts about a call, without keys, prompts or pictures.

An observer is a plain callable given to ``AsyncClient(observers=[...])``. It is called on the loop's thread and
must not block; what it raises is logged and changes nothing.
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
    """A call stands in line for the rate limit, and will for some seconds."""

    call_id: str
    images: int
    place: int
    """How many stand before it."""
    seconds: float
    """Until it may go, about."""
    reason: str
    """What for, in words."""


@frozen
class LimitWaited:
    """A call waited for the rate limit and may go now."""

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
    """An attempt ended with an answer, good or bad."""

    call_id: str
    attempt: int
    status_code: int
    request_id: str | None
    seconds: float
    """From the start of the attempt to the last byte."""


@frozen
class RetryScheduled:
    """An attempt failed and will be made again."""

    call_id: str
    attempt: int
    """The one that failed."""
    delay: float
    """Seconds until the next one, the wait for the rate limit not counted."""
    reason: str
    """The class of its error, such as ``"RateLimitError"``."""
    maybe_billed: bool
    """Whether it, or one before it, may have been billed."""


Event: TypeAlias = LimitWaiting | LimitWaited | AttemptStarted | ResponseReceived | RetryScheduled
"""What an observer is called with."""
Observer: TypeAlias = Callable[[Event], object]
