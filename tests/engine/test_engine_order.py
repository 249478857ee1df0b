"""The order of one attempt, recorded by a limiter, a ledger and a transport."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from imagesdk import Generate, RateLimit, RetryPolicy, Timeouts
from imagesdk._engine.call import Call
from imagesdk._engine.config import EngineConfig, EngineShared
from imagesdk._engine.engine import Engine
from imagesdk._protocol import requests
from imagesdk._protocol.hosts import Host
from imagesdk._protocol.inputs import InputImages
from imagesdk._protocol.responses import ParsedResponse, parse_response
from imagesdk._protocol.retry import Failure
from imagesdk._protocol.secret import Secret
from imagesdk._protocol.server_limits import ServerLimits
from imagesdk._ratelimit.limiter import OnWait
from imagesdk._ratelimit.queue import Permit
from imagesdk._transport.exchange import TransportError, WireRequest, WireResponse
from imagesdk.events import Event, LimitWaited
from tests.support.small_images import answer, png

pytestmark = pytest.mark.anyio

ANSWER = answer(png())


class Recorder:
    """A limiter, a ledger and a transport that record their calls in one list."""

    def __init__(self, *answers: bytes | int | Exception) -> None:
        self.steps: list[str] = []
        self.refusal: Exception | None = None
        self._answers = list(answers)

    @property
    def limit(self) -> RateLimit:
        return RateLimit()

    def remember(self, sendings: Iterable[tuple[int, float]]) -> None:
        self.steps += [f"{weight} remembered" for weight, _ in sendings]

    def enqueue(self, weight: int, *, rejoin: Permit | None = None) -> Permit:
        again = "" if rejoin is None else " again"
        self.steps.append(f"queued for {weight}{again}")
        return Permit(weight, 0)

    async def wait(self, permit: Permit, *, deadline: float | None, on_wait: OnWait | None = None) -> None:
        self.steps.append("granted")

    def sent(self, permit: Permit) -> None:
        self.steps.append("sent")

    def accepted(self, permit: Permit, server_limits: ServerLimits, tokens: int | None) -> None:
        self.steps.append("accepted")

    def answered(self, permit: Permit, stated: ServerLimits, *, uncounted: bool) -> None:
        self.steps.append("answered")

    def rejected(self, permit: Permit, server_limits: ServerLimits) -> None:
        self.steps.append("rejected")

    def release(self, permit: Permit) -> None:
        self.steps.append("released")

    async def before_send(self, attempt: int, idempotency_key: str) -> None:
        self.steps.append(f"ledger before {attempt} {idempotency_key}")
        if self.refusal is not None:
            raise self.refusal

    async def settled(self, attempt: int, failure: Failure | None) -> None:
        self.steps.append(f"ledger settled {attempt}: {failure.kind if failure else 'success'}")

    def exchange(self, request: WireRequest) -> AbstractAsyncContextManager[WireResponse]:
        return self._exchange(request)

    @asynccontextmanager
    async def _exchange(self, request: WireRequest) -> AsyncGenerator[WireResponse, None]:
        assert request.body is not None
        self.steps.append("connected")
        body = b"".join([piece async for piece in request.body])
        self.steps.append(f"bytes for {json.loads(body)['prompt']}")
        answered = self._answers.pop(0)
        if isinstance(answered, Exception):
            raise answered
        status, body = (answered, b"") if isinstance(answered, int) else (200, answered)
        yield WireResponse(status, {}, self._body(body))
        self.steps.append("connection released")

    async def _body(self, body: bytes) -> AsyncGenerator[bytes, None]:
        self.steps.append("body read")
        yield body

    async def aclose(self) -> None:
        pass

    def observe(self, event: Event) -> None:
        if not isinstance(event, LimitWaited):  # a busy machine may make any wait notable
            self.steps.append(type(event).__name__)

    async def make_call(self) -> ParsedResponse:
        shared = EngineShared(Host.parse("https://images.test/v1"), Secret(""), self, "test")
        config = EngineConfig(RetryPolicy(backoff=0), limits=RateLimit(), observers=(self.observe,))
        engine = Engine(shared, config)
        engine._limiter = lambda model, limit: self  # type: ignore[method-assign]
        request = requests.build_request(Generate("a cat"), InputImages(), extra_body=None)
        call = Call(
            request,
            parse=lambda document: parse_response(document, None),
            timeouts=Timeouts(),
            idempotency_key="k1",
            ledger=self,
        )
        return (await engine.send(call)).parsed


async def test_one_attempt_goes_from_permit_to_ledger_in_the_promised_order() -> None:
    recorder = Recorder(ANSWER)

    await recorder.make_call()

    assert ", ".join(recorder.steps) == (
        "CallStarted, queued for 1, granted, ledger before 1 k1, AttemptStarted, connected, sent, bytes for a cat, "
        "body read, connection released, ResponseReceived, accepted, ledger settled 1: success, released, CallEnded"
    )


@pytest.mark.parametrize(("unsent", "kind"), [(False, "unknown"), (True, "never_sent")])
async def test_a_failed_attempt_is_settled_and_released_before_the_next_one_is_queued(
    unsent: bool, kind: str
) -> None:
    recorder = Recorder(TransportError("cut", connecting=False, timed_out=False, unsent=unsent), ANSWER)

    await recorder.make_call()

    settled = recorder.steps.index(f"ledger settled 1: {kind}")
    assert ", ".join(recorder.steps[settled : settled + 6]) == (
        f"ledger settled 1: {kind}, RetryScheduled, released, queued for 1 again, granted, ledger before 2 k1"
    )
    assert recorder.steps[-3:] == ["ledger settled 2: success", "released", "CallEnded"]


async def test_a_429_rejoins_the_queue_with_the_same_permit() -> None:
    recorder = Recorder(429, ANSWER)

    await recorder.make_call()

    settled = recorder.steps.index("ledger settled 1: refused")
    assert ", ".join(recorder.steps[settled : settled + 5]) == (
        "ledger settled 1: refused, RetryScheduled, rejected, granted, ledger before 2 k1"
    )
    assert recorder.steps.count("queued for 1") == recorder.steps.count("released") == 1


async def test_a_ledger_that_raises_stops_the_attempt_before_anything_is_sent() -> None:
    recorder = Recorder(ANSWER)
    recorder.refusal = ZeroDivisionError("no more money")

    with pytest.raises(ZeroDivisionError):
        await recorder.make_call()

    own = [step for step in recorder.steps if not step.startswith("Call")]
    assert own == ["queued for 1", "granted", "ledger before 1 k1", "released"]
