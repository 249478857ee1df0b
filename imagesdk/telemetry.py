"""OpenTelemetry spans and metrics of calls, attempts and runs. Needs the extra ``otel``.

Names follow the semantic conventions for generative AI where they have one, and begin with ``imagesdk.`` where not:
https://github.com/open-telemetry/semantic-conventions-genai

=====================================  =========================================================================
span                                   parent and links
=====================================  =========================================================================
``generate_content MODEL``             one call over all its attempts; a child of the caller's span. In a run it
                                       begins a trace of its own, with a link to the span of the run
``attempt``                            one request; a child of its call
``fan_out``                            one run; a child of the caller's span, with links to calls that failed
=====================================  =========================================================================

No image, key or URL query is recorded. A prompt is recorded if ``OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`` is
``true``, ``span_only`` or ``span_and_event``.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, overload
from urllib.parse import urlsplit

from attrs import define

from imagesdk._version import __version__
from imagesdk.events import (
    PROCESS_OBSERVERS,
    AttemptStarted,
    CallEnded,
    CallStarted,
    Event,
    JobEnded,
    LimitWaited,
    ResponseReceived,
    RetryScheduled,
    RunEnded,
    RunStarted,
)

try:
    from opentelemetry import context as contexts
    from opentelemetry import metrics, trace
    from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
except ModuleNotFoundError as _missing:
    _text = "imagesdk.telemetry needs opentelemetry-api, which the extra `otel` of imagesdk installs"
    raise ModuleNotFoundError(_text, name="opentelemetry") from _missing

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from imagesdk import AsyncClient, Client

__all__ = ["Telemetry", "instrument", "uninstrument"]

_ClientT = TypeVar("_ClientT", "AsyncClient", "Client")
_SWITCH = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_ON = {"true", "1", "span_only", "span_and_event"}
_AZURE = (".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com")
_PORTS = {"http": 80, "https": 443}
# https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/gen-ai-metrics.md
_SECONDS = (
    0.01,
    0.02,
    0.04,
    0.08,
    0.16,
    0.32,
    0.64,
    1.28,
    2.56,
    5.12,
    10.24,
    20.48,
    40.96,
    81.92,
    163.84,
    327.68,
)
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
_TOO_MANY_REQUESTS = 429

Attributes = dict[str, Any]


@overload
def instrument(
    client: None = None,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> Telemetry: ...
@overload
def instrument(
    client: _ClientT,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> _ClientT: ...
def instrument(
    client: AsyncClient | Client | None = None,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> AsyncClient | Client | Telemetry:
    """Record spans and metrics of all clients in the process, or of one client.

    Without a client, return the observer of the process. A second call returns the same observer. With a client, return
    a view of it whose calls are recorded. Closing the view closes nothing. Close the client.

    Example:
        ```python
        from imagesdk import telemetry

        telemetry.instrument()
        ```

    Args:
        client: A client. Default: all clients of the process, also those that exist already.
        tracer_provider: The provider of the spans. Default: the global one.
        meter_provider: The provider of the metrics. Default: the global one.

    Raises:
        ModuleNotFoundError: If opentelemetry-api is missing. Raised by the import of this module.
    """
    running = next((observer for observer in PROCESS_OBSERVERS if isinstance(observer, Telemetry)), None)
    if client is None:
        if running is None:
            running = Telemetry(tracer_provider, meter_provider)
            PROCESS_OBSERVERS.append(running)
        return running
    return client.with_options(
        observers=[*client.observers, running or Telemetry(tracer_provider, meter_provider)]
    )


def uninstrument() -> None:
    """End the recording for all clients in the process. Views of single clients go on recording."""
    PROCESS_OBSERVERS[:] = [observer for observer in PROCESS_OBSERVERS if not isinstance(observer, Telemetry)]


@define(eq=False)
class _Attempt:
    span: Span
    ended_at: int | None = None
    """Nanoseconds of the response; ``None`` while there is none."""


@define(eq=False)
class _Call:
    span: Span
    labels: Attributes
    """Attributes of all measurements of the call."""
    run: Span | None
    attempt: _Attempt | None = None
    waits: bool = False


class Telemetry:
    """An observer that turns events into spans and metrics.

    Args:
        tracer_provider: The provider of the spans. Default: the global one.
        meter_provider: The provider of the metrics. Default: the global one.
    """

    def __init__(
        self, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
    ) -> None:
        self._calls: dict[str, _Call] = {}
        self._runs: dict[str, Span] = {}
        self._tracer = trace.get_tracer("imagesdk", __version__, tracer_provider)
        meter = metrics.get_meter("imagesdk", __version__, meter_provider)
        histogram, counter = meter.create_histogram, meter.create_counter
        self._duration = histogram(
            "gen_ai.client.operation.duration",
            "s",
            "Duration of a call over all its attempts, with its waits.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._tokens = histogram(
            "gen_ai.client.token.usage",
            "{token}",
            "Tokens that the server counted.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self._queue_time = histogram(
            "imagesdk.queue.time",
            "s",
            "Wait of a call for the rate limit.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._queue_depth = meter.create_up_down_counter(
            "imagesdk.queue.depth", "{call}", "Calls that wait for the rate limit or their next attempt."
        )
        self._images = counter("imagesdk.images", "{image}", "Images received.")
        self._cost = counter("imagesdk.cost", "USD", "Known cost of responses in US dollars.")
        self._unpriced = counter("imagesdk.unpriced", "{call}", "Responses with images of unknown cost.")
        self._rejections = counter("imagesdk.rate_limited", "{response}", "Responses with status 429.")
        self._retries = counter("imagesdk.retries", "{attempt}", "Failed attempts that were retried.")
        self._maybe_billed = counter(
            "imagesdk.maybe_billed", "{call}", "Calls with a failed attempt that may have been billed."
        )
        self._jobs = counter("imagesdk.run.jobs", "{job}", "Jobs of runs that have an outcome.")
        self._handlers: dict[type, Callable[[Any], None]] = {
            CallStarted: self._call_started,
            LimitWaited: self._limit_waited,
            AttemptStarted: self._attempt_started,
            ResponseReceived: self._response_received,
            RetryScheduled: self._retry_scheduled,
            CallEnded: self._call_ended,
            RunStarted: self._run_started,
            JobEnded: self._job_ended,
            RunEnded: self._run_ended,
        }

    def __call__(self, event: Event) -> None:
        """Record an event."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    def _call_started(self, event: CallStarted) -> None:
        labels = _labels(event)
        run = self._runs.get(event.run_id or "")
        span = self._tracer.start_span(
            _span_name(event),
            context=None if run is None else contexts.Context(),
            kind=SpanKind.CLIENT,
            attributes={**labels, **_request_attributes(event)},
            links=None if run is None else [Link(run.get_span_context())],
        )
        earlier = self._calls.pop(event.call_id, None)  # two calls with one idempotency key at once
        if earlier is not None:
            self._close(earlier)
        call = self._calls[event.call_id] = _Call(span, labels, run)
        self._enter_queue(call)

    def _limit_waited(self, event: LimitWaited) -> None:
        call = self._calls.get(event.call_id)
        if call is not None:
            self._queue_time.record(event.waited, call.labels)
            call.span.add_event("imagesdk.limit_waited", {"imagesdk.seconds": event.waited})

    def _enter_queue(self, call: _Call) -> None:
        if not call.waits:
            call.waits = True
            self._queue_depth.add(1, call.labels)

    def _leave_queue(self, call: _Call) -> None:
        if call.waits:
            call.waits = False
            self._queue_depth.add(-1, call.labels)

    def _attempt_started(self, event: AttemptStarted) -> None:
        call = self._calls.get(event.call_id)
        if call is None:
            return
        self._leave_queue(call)
        _end_attempt(call, None)
        span = self._tracer.start_span(
            "attempt",
            context=trace.set_span_in_context(call.span, contexts.Context()),
            kind=SpanKind.CLIENT,
            attributes={
                "http.request.method": event.method,
                "url.path": urlsplit(event.path).path,
                "http.request.resend_count": event.attempt - 1,
            },
        )
        call.attempt = _Attempt(span)

    def _response_received(self, event: ResponseReceived) -> None:
        call = self._calls.get(event.call_id)
        if call is None:
            return
        if event.status_code == _TOO_MANY_REQUESTS:
            self._rejections.add(1, call.labels)
        if call.attempt is not None:
            call.attempt.ended_at = time.time_ns()
            call.attempt.span.set_attribute("http.response.status_code", event.status_code)
            if event.request_id:
                call.attempt.span.set_attribute("imagesdk.request_id", event.request_id)

    def _retry_scheduled(self, event: RetryScheduled) -> None:
        call = self._calls.get(event.call_id)
        if call is None:
            return
        self._retries.add(1, {**call.labels, "error.type": event.reason})
        facts: Attributes = {"error.type": event.reason, "imagesdk.delay": event.delay}
        call.span.add_event("imagesdk.retry", {**facts, "imagesdk.maybe_billed": event.maybe_billed})
        _end_attempt(call, event.reason)
        self._enter_queue(call)

    def _call_ended(self, event: CallEnded) -> None:
        call = self._calls.pop(event.call_id, None)
        if call is None:
            return
        labels = call.labels if event.error is None else {**call.labels, "error.type": event.error}
        self._duration.record(event.seconds, labels)
        for kind, count in (("input", event.input_tokens), ("output", event.output_tokens)):
            if count is not None:
                self._tokens.record(count, {**call.labels, "gen_ai.token.type": kind})
        if event.images:
            self._images.add(event.images, call.labels)
            if event.cost is None:
                self._unpriced.add(1, call.labels)
        if event.cost is not None:
            self._cost.add(float(event.cost), call.labels)
        if event.maybe_billed:
            self._maybe_billed.add(1, call.labels)
        call.span.set_attributes(_response_attributes(event))
        self._close(call, event.error)

    def _close(self, call: _Call, error: str | None = None) -> None:
        self._leave_queue(call)
        _end_attempt(call, error)
        if error is not None:
            call.span.set_status(Status(StatusCode.ERROR, error))
            if call.run is not None:
                call.run.add_link(call.span.get_span_context())
        call.span.end()

    def _run_started(self, event: RunStarted) -> None:
        attributes: Attributes = {"imagesdk.run.id": event.run_id}
        if event.total is not None:
            attributes["imagesdk.run.jobs"] = event.total
        self._runs[event.run_id] = self._tracer.start_span("fan_out", attributes=attributes)

    def _job_ended(self, event: JobEnded) -> None:
        self._jobs.add(1, {"imagesdk.job.status": event.status, "imagesdk.job.resumed": event.resumed})

    def _run_ended(self, event: RunEnded) -> None:
        span = self._runs.pop(event.run_id, None)
        if span is None:
            return
        for status in ("done", "refused", "failed", "unknown", "missing", "images"):
            span.set_attribute(f"imagesdk.run.{status}", getattr(event, status))
        span.set_attribute("imagesdk.cost", float(event.cost))
        if event.error is not None:
            span.set_attribute("error.type", event.error)
            span.set_status(Status(StatusCode.ERROR, event.error))
        span.end()


def _end_attempt(call: _Call, error: str | None) -> None:
    """End the span of the open attempt, at the time of its response if there was one."""
    attempt, call.attempt = call.attempt, None
    if attempt is None:
        return
    if error is not None:
        attempt.span.set_attribute("error.type", error)
        attempt.span.set_status(Status(StatusCode.ERROR, error))
    attempt.span.end(attempt.ended_at)


def _span_name(event: CallStarted) -> str:
    """Return a name without ids: the kind of images, or the method and the first part of the path."""
    if event.images:
        return f"generate_content {event.model or ''}".rstrip()
    return f"{event.method} /{urlsplit(event.path).path.strip('/').partition('/')[0]}"


def _labels(event: CallStarted) -> Attributes:
    """Return the attributes of spans and measurements. Their number of combinations is small."""
    server = urlsplit(event.server)
    host = server.hostname or ""
    labels: Attributes = {
        "gen_ai.operation.name": "generate_content" if event.images else event.operation,
        "gen_ai.provider.name": "azure.ai.openai" if host.endswith(_AZURE) else "openai",
        "server.address": host,
    }
    port = server.port or _PORTS.get(server.scheme)
    if port is not None:
        labels["server.port"] = port
    if event.model is not None:
        labels["gen_ai.request.model"] = event.model
    return labels


def _request_attributes(event: CallStarted) -> Attributes:
    attributes: Attributes = {"imagesdk.operation": event.operation, "imagesdk.call.id": event.call_id}
    if event.images:
        attributes |= {"gen_ai.output.type": "image", "gen_ai.request.choice.count": event.images}
        attributes["gen_ai.request.stream"] = event.stream
    width, cross, height = (event.size or "").partition("x")
    if cross and width.isdecimal() and height.isdecimal():
        attributes |= {"gen_ai.request.image.width": int(width), "gen_ai.request.image.height": int(height)}
    for name in ("quality", "output_format", "run_id"):
        if (value := getattr(event, name)) is not None:
            attributes[f"imagesdk.{name.replace('_id', '.id')}"] = value
    if event.prompt is not None and os.environ.get(_SWITCH, "").strip().lower() in _ON:
        part = {"type": "text", "content": event.prompt.reveal()}
        attributes["gen_ai.input.messages"] = json.dumps([{"role": "user", "parts": [part]}])
    return attributes


def _response_attributes(event: CallEnded) -> Attributes:
    found: Attributes = {
        "error.type": event.error,
        "http.response.status_code": event.status_code,
        "imagesdk.request_id": event.request_id,
        "gen_ai.usage.input_tokens": event.input_tokens,
        "gen_ai.usage.output_tokens": event.output_tokens,
        "imagesdk.cost": None if event.cost is None else float(event.cost),
        "imagesdk.images": event.images or None,
        "imagesdk.attempts": event.attempts,
        "imagesdk.maybe_billed": event.maybe_billed,
    }
    return {name: value for name, value in found.items() if value is not None}
