"""Spans and metrics of calls, attempts and runs, as in-memory exporters of the OpenTelemetry SDK receive them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, TypeAlias

import anyio
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from imagesdk import AsyncClient, Client, RateLimit, errors, telemetry
from imagesdk.emulator import Emulator
from imagesdk.events import PROCESS_OBSERVERS, CallStarted
from imagesdk.telemetry import Telemetry
from tests.support.small_images import answer, png, usage
from tests.support.socket_servers import Conversation, always, in_turn, says, serving

pytestmark = pytest.mark.anyio
MakeClient: TypeAlias = Callable[..., AsyncClient]

KEY = "sk-not-to-be-seen"
PROMPT = "a secret garden"
ANSWER = answer(png(2, 2), usage=usage(196))
BUSY = b'{"error": {"message": "Rate limit reached.", "code": "rate_limit_exceeded"}}'
SWITCH = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


class Backend:
    """The collector of a test."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self.meter_provider = MeterProvider([self._reader])

    @property
    def providers(self) -> dict[str, Any]:
        return {"tracer_provider": self.tracer_provider, "meter_provider": self.meter_provider}

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self._spans.get_finished_spans() if span.name.startswith(name)]

    def points(self, name: str) -> list[tuple[dict[str, Any], float]]:
        """Return the attributes and the value (of a histogram, the sum) of each series of a metric."""
        data: Any = self._reader.get_metrics_data()
        return [
            (dict(point.attributes), point.sum if hasattr(point, "sum") else point.value)
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]

    def total(self, name: str) -> float:
        return sum(value for _, value in self.points(name))


@pytest.fixture
def backend() -> Iterator[Backend]:
    backend = Backend()
    yield backend
    backend.meter_provider.shutdown()


def facts(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def span_id(span: ReadableSpan) -> int:
    assert span.context is not None
    found: int = span.context.span_id
    return found


async def test_a_call_is_one_span_over_its_attempts_within_the_span_of_the_caller(
    make_client: MakeClient, backend: Backend
) -> None:
    handler = in_turn(says(b"", 500), says(ANSWER, x_request_id="req_2"))
    async with serving(handler) as server, make_client(server.base_url) as plain:
        client = telemetry.instrument(plain, **backend.providers)
        with backend.tracer_provider.get_tracer("app").start_as_current_span("request") as caller:
            await client.images.generate(PROMPT, model="gpt-image-2", size="1024x1024", quality="low")

    [call] = backend.spans("generate_content gpt-image-2")
    assert call.parent is not None
    assert call.parent.span_id == caller.get_span_context().span_id
    assert call.status.status_code is not StatusCode.ERROR
    first, second = backend.spans("attempt")
    assert [span.parent and span.parent.span_id for span in (first, second)] == [span_id(call)] * 2
    assert facts(first)["error.type"] == "InternalServerError"
    assert facts(first)["http.response.status_code"] == 500
    assert (facts(second)["http.request.resend_count"], facts(second)["imagesdk.request_id"]) == (1, "req_2")
    assert "error.type" not in facts(second)
    expected = {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-image-2",
        "gen_ai.output.type": "image",
        "gen_ai.request.choice.count": 1,
        "gen_ai.request.image.width": 1024,
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 196,
        "server.address": "127.0.0.1",
        "imagesdk.attempts": 2,
        "imagesdk.maybe_billed": True,
    }
    assert facts(call) | expected == facts(call)
    assert "imagesdk.retry" in {event.name for event in call.events}


async def test_metrics_count_tokens_images_cost_retries_and_what_may_have_been_billed(
    make_client: MakeClient, backend: Backend
) -> None:
    handler = in_turn(says(b"", 500), says(ANSWER), says(BUSY, 429, retry_after_ms="1"), says(ANSWER))
    async with serving(handler) as server, make_client(server.base_url) as plain:
        client = telemetry.instrument(plain, **backend.providers)
        costs = [(await client.images.generate(PROMPT, model="gpt-image-2")).cost for _ in range(2)]

    [(labels, _)] = backend.points("gen_ai.client.operation.duration")
    assert labels["gen_ai.request.model"] == "gpt-image-2"
    tokens = {
        labels["gen_ai.token.type"]: value for labels, value in backend.points("gen_ai.client.token.usage")
    }
    assert tokens == {"input": 20, "output": 392}
    assert backend.total("imagesdk.images") == 2
    assert backend.total("imagesdk.cost") == pytest.approx(float(sum(cost or 0 for cost in costs)))
    assert backend.total("imagesdk.cost") > 0
    assert backend.total("imagesdk.rate_limited") == 1
    assert {labels["error.type"]: value for labels, value in backend.points("imagesdk.retries")} == {
        "InternalServerError": 1,
        "RateLimitError": 1,
    }
    assert backend.total("imagesdk.maybe_billed") == 1
    assert backend.total("imagesdk.unpriced") == 0


async def test_the_queue_is_as_deep_as_calls_wait_and_is_empty_in_the_end(
    make_client: MakeClient, backend: Backend
) -> None:
    depths: list[float] = []

    def look(event: object) -> None:
        depths.append(backend.total("imagesdk.queue.depth"))

    terms = {"rate_limit": RateLimit(1, per=0.05), "observers": [look]}
    async with serving(always(ANSWER)) as server, make_client(server.base_url, **terms) as plain:
        client = telemetry.instrument(plain, **backend.providers)
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(client.images.generate, PROMPT)

    assert max(depths) == 3
    assert backend.total("imagesdk.queue.depth") == 0
    assert backend.total("imagesdk.queue.time") > 0.05


async def test_a_failed_call_and_a_cancelled_one_end_their_spans_with_the_reason(
    make_client: MakeClient, backend: Backend
) -> None:
    async def hold(talk: Conversation) -> None:
        scope.cancel()
        await talk.dropped()

    refusal = says(b'{"error": {"message": "no", "type": "invalid_request_error"}}', 400)
    async with serving(in_turn(refusal, hold)) as server, make_client(server.base_url) as plain:
        client = telemetry.instrument(plain, **backend.providers)
        with pytest.raises(errors.BadRequestError):
            await client.images.generate(PROMPT)
        with anyio.CancelScope() as scope:
            await client.images.generate(PROMPT)

    failed, cancelled = backend.spans("generate_content")
    assert (failed.status.status_code, facts(failed)["error.type"]) == (StatusCode.ERROR, "BadRequestError")
    assert facts(failed)["http.response.status_code"] == 400
    assert facts(failed)["imagesdk.maybe_billed"] is False
    assert facts(cancelled)["error.type"] == "Cancelled"
    assert facts(cancelled)["imagesdk.maybe_billed"] is True
    assert [facts(span)["error.type"] for span in backend.spans("attempt")] == [
        "BadRequestError",
        "Cancelled",
    ]


async def test_jobs_of_a_run_have_traces_of_their_own_that_link_to_the_span_of_the_run(
    make_client: MakeClient, backend: Backend
) -> None:
    refusal = says(b'{"error": {"message": "no", "type": "invalid_request_error"}}', 400)
    async with serving(in_turn(says(ANSWER), refusal)) as server, make_client(server.base_url) as plain:
        client = telemetry.instrument(plain, **backend.providers)
        async with client.images.fan_out(["a river", "a lake"], concurrency=1) as run:
            await run.collect()

    [run_span] = backend.spans("fan_out")
    done, refused = backend.spans("generate_content")
    for call in (done, refused):
        assert call.parent is None
        assert [link.context.span_id for link in call.links] == [span_id(run_span)]
    assert [link.context.span_id for link in run_span.links] == [span_id(refused)]
    found = facts(run_span)
    assert (found["imagesdk.run.jobs"], found["imagesdk.run.done"], found["imagesdk.run.refused"]) == (
        2,
        1,
        1,
    )
    jobs = {labels["imagesdk.job.status"]: value for labels, value in backend.points("imagesdk.run.jobs")}
    assert jobs == {"done": 1, "refused": 1}


async def test_a_stream_that_was_left_early_is_one_span_and_may_have_been_billed(
    client: AsyncClient, backend: Backend
) -> None:
    async with client:
        watched = telemetry.instrument(client, **backend.providers)
        async with watched.images.generate_stream(PROMPT, model="gpt-image-2", partial_images=2) as stream:
            await anext(aiter(stream))
        async with watched.images.generate_stream(PROMPT, model="gpt-image-2", partial_images=1) as stream:
            await stream.final()

    left, read = backend.spans("generate_content")
    assert facts(left)["gen_ai.request.stream"] is True
    assert (facts(left)["error.type"], facts(left)["imagesdk.maybe_billed"]) == ("StreamError", True)
    assert "error.type" not in facts(read)
    assert facts(read)["imagesdk.images"] == 1


@pytest.mark.parametrize(
    ("switch", "captured"), [(None, False), ("true", True), ("SPAN_ONLY", True), ("no_content", False)]
)
async def test_a_prompt_is_recorded_only_with_the_standard_switch(
    make_client: MakeClient,
    backend: Backend,
    monkeypatch: pytest.MonkeyPatch,
    switch: str | None,
    captured: bool,
) -> None:
    if switch is not None:
        monkeypatch.setenv(SWITCH, switch)
    async with serving(always(ANSWER)) as server, make_client(server.base_url, api_key=KEY) as plain:
        await telemetry.instrument(plain, **backend.providers).images.generate(PROMPT)

    [call] = backend.spans("generate_content")
    messages = json.loads(facts(call).get("gen_ai.input.messages", "[]"))
    wanted = [{"role": "user", "parts": [{"type": "text", "content": PROMPT}]}]
    assert messages == (wanted if captured else [])
    exported = "".join(span.to_json() for span in (*backend.spans("generate"), *backend.spans("attempt")))
    assert (PROMPT in exported) is captured
    assert KEY not in exported
    assert "iVBOR" not in exported  # the first bytes of a PNG as base64


async def test_all_clients_of_the_process_are_recorded_once_until_the_recording_ends(
    make_client: MakeClient, backend: Backend
) -> None:
    async with serving(always(ANSWER)) as server, make_client(server.base_url) as client:
        everywhere = telemetry.instrument(**backend.providers)
        try:
            assert telemetry.instrument() is everywhere
            await client.images.generate(PROMPT)
            await telemetry.instrument(client).images.generate(PROMPT)
            assert len(backend.spans("generate_content")) == 2
        finally:
            telemetry.uninstrument()
        await client.images.generate(PROMPT)
    assert len(backend.spans("generate_content")) == 2
    assert PROCESS_OBSERVERS == []


@pytest.mark.one_loop
async def test_calls_that_make_no_images_are_named_for_their_request(
    emulator: Emulator, backend: Backend
) -> None:
    async with AsyncClient(base_url=emulator.base_url) as plain:
        client = telemetry.instrument(plain, **backend.providers)
        await client.models.retrieve("gpt-image-2")
    [span] = backend.spans("GET /models")
    assert span.name == "GET /models"
    assert "gen_ai.output.type" not in facts(span)


def test_a_blocking_client_is_recorded_within_the_span_of_the_calling_thread(
    emulator: Emulator, backend: Backend
) -> None:
    seen: list[object] = []
    with Client(base_url=emulator.base_url, rate_limit=None, observers=[seen.append]) as plain:
        client = telemetry.instrument(plain, **backend.providers)
        with backend.tracer_provider.get_tracer("app").start_as_current_span("request") as caller:
            client.images.generate(PROMPT)
    [call] = backend.spans("generate_content")
    assert call.parent is not None
    assert call.parent.span_id == caller.get_span_context().span_id
    assert any(isinstance(event, CallStarted) for event in seen)  # the observers of the client remain


def test_an_event_of_an_unknown_call_or_kind_changes_nothing(backend: Backend) -> None:
    from imagesdk.events import CallEnded, LimitWaited

    observer = Telemetry(**backend.providers)
    events: list[Any] = [object(), LimitWaited("x", 1, 1.0), CallEnded("x", 1.0, 1, None, 200, None, False)]
    for event in events:
        observer(event)
    assert backend.spans("") == []


def test_without_opentelemetry_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "imagesdk.telemetry")
    with pytest.raises(ModuleNotFoundError, match="the extra `otel`"):
        import_module("imagesdk.telemetry")
