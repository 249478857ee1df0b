"""Events for the start and the end of a call, built only where an observer listens."""

from __future__ import annotations

from typing import Any

from imagesdk._engine.call import Call
from imagesdk._engine.state import CallState
from imagesdk._protocol.responses import ParsedResponse
from imagesdk.errors import APIError, APIStatusError
from imagesdk.events import CallEnded, CallStarted, HiddenText


def call_started(call: Call[Any], server: str, *, stream: bool) -> CallStarted:
    """Return the event for a call that begins."""
    job, request = call.job, call.request
    prompt = getattr(job, "prompt", None)
    return CallStarted(
        call_id=call.id,
        run_id=call.run_id,
        operation="request" if job is None else type(job).__name__.lower(),
        method=request.method,
        path=request.path,
        server=server,
        model=request.model,
        images=request.weight,
        stream=stream,
        size=getattr(job, "size", None),
        quality=getattr(job, "quality", None),
        output_format=getattr(job, "output_format", None),
        prompt=HiddenText(prompt) if isinstance(prompt, str) else None,
    )


def call_ended(state: CallState[Any], ended_by: BaseException | None, seconds: float) -> CallEnded:
    """Return the event for a call that has ended: with a response, by an exception, or as a stream that was left."""
    call, result = state.call, state.result
    error = None if result is not None else ended_by or state.last_error
    last = error if isinstance(error, APIError) else None if result is not None else state.last_error
    status = error.status_code if isinstance(error, APIStatusError) else None
    parsed = result.parsed if result is not None and isinstance(result.parsed, ParsedResponse) else None
    usage = None if parsed is None else parsed.usage
    return CallEnded(
        call_id=call.id,
        seconds=seconds,
        attempts=state.started,
        error=_name(error),
        status_code=status if result is None else result.status,
        request_id=result.headers.get("x-request-id")
        if result is not None
        else getattr(error, "request_id", None),
        maybe_billed=call.request.billed and (state.maybe_billed or (last is not None and last.maybe_billed)),
        images=0 if parsed is None else len(parsed.images),
        input_tokens=None if usage is None else usage.input_tokens,
        output_tokens=None if usage is None else usage.output_tokens,
        cost=None if result is None or parsed is None else call.price(result.parsed),
    )


def _name(error: BaseException | None) -> str | None:
    """Return the name of an error; every event loop has another class for a cancellation."""
    if error is None:
        return None
    return type(error).__name__ if isinstance(error, Exception) else "Cancelled"
