"""Limits and retries as a call meets them: waiting, what answers teach, the budget of retries, keys on the wire."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeAlias

import anyio
import httpx
import pytest
import respx

from imagesdk import AsyncClient, RateLimit, RetryPolicy, errors
from imagesdk.events import Event, LimitWaiting
from tests.support.small_images import answer, png
from tests.support.socket_servers import Conversation, Handler, RawServer, always, in_turn, says, serving

pytestmark = pytest.mark.anyio
MakeClient: TypeAlias = Callable[..., AsyncClient]

ANSWER = answer(png())
ERROR = b'{"error": {"message": "oh no", "type": "server_error"}}'
OUT_OF_BUDGET = "too many calls of this client are failing"


def notes(error: BaseException) -> str:
    return " ".join(getattr(error, "__notes__", []))


async def close(talk: Conversation) -> None:
    talk.hang_up()


class Waiting:
    """An observer that keeps the events of the wait for the limit."""

    def __init__(self) -> None:
        self.events: list[LimitWaiting] = []
        self.reported = anyio.Event()

    def __call__(self, event: Event) -> None:
        if isinstance(event, LimitWaiting):
            self.events.append(event)
            self.reported.set()

    async def of_call(self, client: AsyncClient) -> LimitWaiting:
        """Make a call, and cancel it when it has reported its wait."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.images.generate, "a cat")
            with anyio.fail_after(10):
                await self.reported.wait()
            tasks.cancel_scope.cancel()
        [event] = self.events
        return event


async def test_a_waiting_call_reports_once_its_place_its_wait_and_the_reason(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "imagesdk")
    waiting = Waiting()
    async with serving(always(ANSWER)) as server:
        async with make_client(server.base_url, rate_limit=RateLimit(1), observers=[waiting]) as client:
            await client.images.generate("a cat")
            event = await waiting.of_call(client)

    assert (event.images, event.place) == (1, 0)
    assert 50 < event.seconds < 62
    assert event.reason == "room in the rate limit of 1 images / 60 s"
    [line] = [record.getMessage() for record in caplog.records if "waiting about" in record.getMessage()]
    assert "s for room in the rate limit of 1 images / 60 s, behind 0 others" in line
    assert "rate_limit= changes" in line


async def test_a_call_that_waits_for_the_end_of_a_pause_reports_it(make_client: MakeClient) -> None:
    waiting = Waiting()
    async with serving(always(ERROR, 429, retry_after="30")) as server:
        async with make_client(server.base_url, rate_limit=RateLimit(), observers=[waiting]) as client:
            event = await waiting.of_call(client)

    assert 25 < event.seconds <= 30
    assert "the server refused more (429)" in event.reason


async def test_a_response_with_a_lower_limit_restricts_the_next_call(make_client: MakeClient) -> None:
    async with serving(always(ANSWER, x_ratelimit_limit_images="1")) as server:
        async with make_client(server.base_url, rate_limit=RateLimit(10)) as client:
            await client.images.generate("a cat", n=2)
            with pytest.raises(errors.LimitWaitError, match="can never fit a rate limit of 1 images"):
                await client.images.generate("a cat", n=2)
            assert len(server.requests) == 1


async def test_a_response_with_a_higher_limit_raises_only_a_default_limit(make_client: MakeClient) -> None:
    async with serving(always(ANSWER, x_ratelimit_limit_images="250")) as server:
        async with AsyncClient(base_url=server.base_url, api_key="") as client:
            await client.images.generate("a cat")
            await client.images.generate("a cat", n=100, check=False)
        async with make_client(server.base_url, rate_limit=RateLimit(scope="client")) as client:
            await client.images.generate("a cat")
            with pytest.raises(errors.LimitWaitError, match="can never fit a rate limit of 50 images"):
                await client.images.generate("a cat", n=100, check=False)


REQUESTS = b'{"error": {"message": "requests per min (RPM): Limit 1, Used 1, Requested 1."}}'
TOKENS = answer(png(), usage={"total_tokens": 900})


@pytest.mark.parametrize(
    ("steps", "limit"),
    [
        ([says(TOKENS)], RateLimit(10, tokens=1000)),
        ([says(REQUESTS, 429, retry_after_ms="20"), says(ANSWER)], RateLimit(10)),
    ],
    ids=["tokens", "requests"],
)
async def test_what_a_response_reports_of_tokens_and_requests_makes_the_next_call_wait(
    make_client: MakeClient, steps: list[Handler], limit: RateLimit
) -> None:
    async with serving(in_turn(*steps)) as server, make_client(server.base_url, rate_limit=limit) as client:
        await client.images.generate("a cat")
        with pytest.raises(errors.LimitWaitError):
            await client.images.generate("a cat", timeout=5)
        assert len(server.requests) == len(steps)


@pytest.mark.parametrize(("status", "waits"), [(401, False), (404, False), (400, True)])
async def test_a_request_that_no_limit_counts_takes_no_room(
    make_client: MakeClient, status: int, waits: bool
) -> None:
    steps = in_turn(says(ERROR, status), says(ANSWER))
    async with serving(steps) as server, make_client(server.base_url, rate_limit=RateLimit(1)) as client:
        with pytest.raises(errors.APIStatusError):
            await client.images.generate("a cat")
        if waits:
            with pytest.raises(errors.LimitWaitError):
                await client.images.generate("a cat", timeout=10)
        else:
            await client.images.generate("a cat", timeout=10)


@pytest.mark.parametrize(
    "body", [b"<html>Request blocked</html>", b'{"error": {"message": "You are out of images."}}']
)
async def test_429s_without_end_end_the_call_with_what_the_server_wrote(
    make_client: MakeClient, body: bytes
) -> None:
    policy = RetryPolicy(max_limit_wait=0.05)
    async with serving(always(body, 429, retry_after="0.01")) as server:
        async with make_client(server.base_url, retry=policy, rate_limit=RateLimit()) as client:
            with pytest.raises(
                errors.LimitWaitError, match=r"nothing but 429 for .*: The server answered 429"
            ) as caught:
                await client.images.generate("a cat")
    assert isinstance(caught.value.__cause__, errors.RateLimitError)
    assert caught.value.attempts == len(server.requests)
    assert not caught.value.maybe_billed


async def failures(client: AsyncClient, count: int) -> list[errors.APIError]:
    """Return the raised of calls one after the other."""
    raised: list[errors.APIError] = []
    for _ in range(count):
        with pytest.raises(errors.APIError) as caught:
            await client.images.generate("a cat")
        raised.append(caught.value)
    return raised


def attempts(raised: list[errors.APIError]) -> list[int]:
    return [error.attempts for error in raised]


async def test_the_retry_throttle_stops_retries_of_all_calls_when_many_fail(make_client: MakeClient) -> None:
    policy = RetryPolicy(backoff=0, budget=6)
    async with serving(always(ERROR, 500)) as server, make_client(server.base_url, retry=policy) as client:
        raised = await failures(client, 4)

    assert attempts(raised) == [2, 1, 1, 1]  # 6 - 2 failures, then 3 are a half
    assert [OUT_OF_BUDGET in notes(error) for error in raised] == [False, True, True, True]
    assert len(server.requests) == 5


async def test_successes_refill_the_retry_throttle(make_client: MakeClient) -> None:
    policy = RetryPolicy(backoff=0, budget=4, budget_refill=1)
    steps = [*[says(ERROR, 500)] * 3, *[says(ANSWER)] * 3, says(ERROR, 500), says(ANSWER)]
    async with serving(in_turn(*steps)) as server, make_client(server.base_url, retry=policy) as client:
        assert attempts(await failures(client, 2)) == [2, 1]
        assert [(await client.images.generate("a cat")).attempts for _ in range(4)] == [1, 1, 1, 2]


async def test_each_client_has_a_retry_throttle_of_its_own(make_client: MakeClient) -> None:
    async with serving(always(ERROR, 500)) as server:
        for budget, expected in ((4, 2), (4, 2), (2, 1)):
            policy = RetryPolicy(backoff=0, budget=budget)
            async with make_client(server.base_url, retry=policy) as client:
                assert attempts(await failures(client, 1)) == [expected]


async def test_the_retry_throttle_can_be_switched_off(make_client: MakeClient) -> None:
    policy = RetryPolicy(backoff=0, budget=None, max_attempts=60, max_ambiguous=60)
    async with serving(always(ERROR, 500)) as server, make_client(server.base_url, retry=policy) as client:
        [error] = await failures(client, 1)
    assert (error.attempts, notes(error)) == (60, "")


async def test_rejections_do_not_count_against_the_retry_throttle(make_client: MakeClient) -> None:
    policy = RetryPolicy(backoff=0, budget=2, max_attempts=30)
    handler = in_turn(*[says(ERROR, 409)] * 20, says(ANSWER))
    async with serving(handler) as server, make_client(server.base_url, retry=policy) as client:
        assert (await client.images.generate("a cat")).attempts == 21


async def test_the_retry_throttle_stops_attempts_to_reach_a_gone_server(make_client: MakeClient) -> None:
    async with serving(always(ANSWER)) as server:
        base_url = server.base_url
    policy = RetryPolicy(backoff=0, budget=4, max_attempts=5)
    async with make_client(base_url, retry=policy) as client:
        raised = await failures(client, 5)

    assert {type(error) for error in raised} == {errors.APIConnectionError}
    assert attempts(raised) == [5, 5, 2, 1, 1]  # ten are free; one more leaves 3 of 4, and another the half
    assert OUT_OF_BUDGET in notes(raised[-1])
    assert not any(error.maybe_billed for error in raised)


@pytest.mark.parametrize("header", ["idempotency-key", "X-Request-Key"])
@respx.mock
async def test_each_attempt_has_the_idempotency_key_in_a_header(make_client: MakeClient, header: str) -> None:
    good = httpx.Response(200, content=ANSWER)
    steps = [httpx.Response(409), httpx.Response(500), good, good]
    route = respx.post("https://images.test/v1/images/generations").mock(side_effect=steps)
    policy = RetryPolicy(backoff=0, idempotency_header=header)

    async with make_client("https://images.test/v1", retry=policy, http_client=httpx.AsyncClient) as client:
        response = await client.images.generate("a cat")
        other = await client.images.generate("a cat", idempotency_key="my own")

    sent: list[httpx.Request] = [call.request for call in route.calls]  # pyright: ignore
    keys = [request.headers.get(header) for request in sent]
    assert keys == [response.idempotency_key] * 3 + ["my own"]
    assert other.idempotency_key == "my own" != response.idempotency_key
    assert len({request.content for request in sent}) == 1
    if header != "idempotency-key":
        assert all("idempotency-key" not in request.headers for request in sent)


async def test_the_idempotency_header_cannot_be_set_by_the_caller(make_client: MakeClient) -> None:
    policy = RetryPolicy(idempotency_header="X-Request-Key")
    async with make_client("https://images.test/v1", retry=policy) as client:
        with pytest.raises(errors.ConfigurationError, match="'x-request-key' carries the idempotency key"):
            await client.images.generate("a cat", extra_headers={"x-request-key": "mine"})


TRUSTING = RetryPolicy(backoff=0, server_idempotent=True, delivery="at_most_once", max_ambiguous=0)


async def ask(make_client: MakeClient, *steps: Any, **terms: Any) -> tuple[Any, RawServer]:
    async with serving(in_turn(*steps)) as server:
        async with make_client(server.base_url, **{"retry": TRUSTING, **terms}) as client:
            try:
                return await client.images.generate("a cat"), server
            except errors.APIError as error:
                return error, server


async def test_an_idempotent_server_is_asked_after_a_failure_and_bills_once(make_client: MakeClient) -> None:
    steps = [close, says(ERROR, 500), says(ANSWER[:-30]), says(ANSWER)]

    response, server = await ask(make_client, *steps)

    assert (response.attempts, response.maybe_billed_before) == (4, False)
    assert {sent.headers["idempotency-key"] for sent in server.requests} == {response.idempotency_key}


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (close, errors.OutcomeUnknownError),
        (says(ERROR, 500), errors.InternalServerError),
        (says(b"what?"), errors.APIResponseError),
    ],
)
async def test_an_idempotent_server_may_have_billed_the_last_failure(
    make_client: MakeClient, step: Any, kind: type[errors.APIError]
) -> None:
    error, _ = await ask(make_client, *[step] * 4)
    assert type(error) is kind
    assert (error.attempts, error.maybe_billed) == (4, True)


async def test_a_server_that_is_not_idempotent_may_have_billed_twice(make_client: MakeClient) -> None:
    policy = RetryPolicy(backoff=0, max_ambiguous=2)
    response, _ = await ask(make_client, close, says(ERROR, 500), says(ANSWER), retry=policy)
    assert (response.attempts, response.maybe_billed_before) == (3, True)
