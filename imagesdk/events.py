"""Events for observers: frozen facts about calls and runs, without keys and images.

An observer is a function in ``AsyncClient(observers=[...])``. It is called on the thread of the event loop and must not
block. An exception that it raises is logged and has no other effect. The prompt is hidden in :class:`HiddenText`, so that
an observer that writes events down writes no prompts.

===========  =================================================================================
call         ``CallStarted``, then for each attempt ``LimitWaiting``, ``LimitWaited``,
             ``AttemptStarted``, ``ResponseReceived`` and ``RetryScheduled``, then ``CallEnded``
run          ``RunStarted``, ``JobEnded`` for each job, ``RunEnded``
===========  =================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TypeAlias

from attrs import frozen

__all__ = [
    "AttemptStarted",
    "CallEnded",
    "CallStarted",
    "Event",
    "HiddenText",
    "JobEnded",
    "LimitWaited",
    "LimitWaiting",
    "Observer",
    "PROCESS_OBSERVERS",
    "ResponseReceived",
    "RetryScheduled",
    "RunEnded",
    "RunStarted",
]


class HiddenText:
    """A text that ``repr`` and ``str`` do not show."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text."""
        return self._text

    def __repr__(self) -> str:
        return "<hidden>"


@frozen
class CallStarted:
    """A call begins. It has not waited for the rate limit yet."""

    call_id: str
    """The name of the call in all of its events."""
    run_id: str | None
    """The run that the call belongs to; ``None`` for a single call."""
    operation: str
    """``"generate"``, ``"edit"``, ``"variation"``, or ``"request"`` for calls that make no images."""
    method: str
    path: str
    server: str
    """The base URL of the server."""
    model: str | None
    images: int
    """The number of images that the request asks for."""
    stream: bool
    size: str | None
    quality: str | None
    output_format: str | None
    prompt: HiddenText | None


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


@frozen
class CallEnded:
    """A call has ended, after all of its attempts."""

    call_id: str
    seconds: float
    """Seconds since the call began, with its waits. For a stream, until it was closed."""
    attempts: int
    error: str | None
    """The class of the error, such as ``"RateLimitError"``; ``"Cancelled"`` for a cancelled call; ``None`` for a success."""
    status_code: int | None
    request_id: str | None
    maybe_billed: bool
    """Whether an attempt that failed may have been billed."""
    images: int = 0
    """The number of images received."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: Decimal | None = None
    """Cost in US dollars; ``None`` if it is unknown."""


@frozen
class RunStarted:
    """A run begins."""

    run_id: str
    total: int | None
    """The number of jobs; ``None`` if it is not known."""


@frozen
class JobEnded:
    """A job of a run has its outcome."""

    run_id: str
    job_id: str
    place: int
    """The index of the job in the list, from 0."""
    status: str
    attempts: int
    resumed: bool
    """Whether the outcome is that of an earlier run."""
    cost: Decimal | None
    error: str | None
    """The class of the error; ``None`` for a job that is done."""


@frozen
class RunEnded:
    """A run has ended, also by an error, or because its block was left."""

    run_id: str
    seconds: float
    done: int
    refused: int
    failed: int
    unknown: int
    missing: int
    images: int
    cost: Decimal
    error: str | None
    """The class of the error that ended the run early."""


Event: TypeAlias = (
    CallStarted
    | LimitWaiting
    | LimitWaited
    | AttemptStarted
    | ResponseReceived
    | RetryScheduled
    | CallEnded
    | RunStarted
    | JobEnded
    | RunEnded
)
"""The argument of an observer."""
Observer: TypeAlias = Callable[[Event], object]
PROCESS_OBSERVERS: list[Observer] = []
"""Observers of all clients in the process, in addition to those of each client."""
