"""Calls that fail: the error, the attempts, and what may have been billed."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from imagesdk import AsyncClient, ImagesResponse, RateLimit, RetryPolicy, Timeouts, errors
from imagesdk.events import (
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
from tests.support.small_images import answer, png
from tests.support.socket_servers import Conversation, Handler, RawServer, always, in_turn, says, serving

pytestmark = pytest.mark.anyio
MakeClient: TypeAlias = Callable[..., AsyncClient]

SMALL = png()
HUGE = png(padding=32 * 1024**2)
"""More than the buffers between two sockets hold."""
ANSWER = answer(SMALL)
ERROR = b'{"error": {"message": "oh no", "type": "server_error"}}'
FAST = RetryPolicy(backoff=0)


async def close(talk: Conversation) -> None:
    talk.hang_up()


async def failing(
    make_client: MakeClient, handler: Handler, **terms: Any
) -> tuple[errors.APIError, RawServer]:
    """Return the error that a call ends with, and the server that it was made to."""
    async with serving(handler) as server, make_client(server.base_url, **terms) as client:
        with pytest.raises(errors.APIError) as caught:
            await client.images.generate("a cat")
    return caught.value, server


async def succeeding(
    make_client: MakeClient, handler: Handler, **terms: Any
) -> tuple[ImagesResponse, RawServer]:
    """Return the response to a call, and the server that gave it."""
    async with serving(handler) as server, make_client(server.base_url, **terms) as client:
        response = await client.images.generate("a cat")
    assert response[0].bytes == SMALL
    return response, server


async def test_without_a_connection_every_attempt_is_made_and_none_is_billed(make_client: MakeClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        base_url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"

    async with make_client(base_url) as client:
        with pytest.raises(errors.APIConnectionError, match="could not be reached") as caught:
            await client.images.generate("a cat", idempotency_key="k1")

    assert type(caught.value) is errors.APIConnectionError
    assert (caught.value.attempts, caught.value.maybe_billed) == (4, False)
    assert caught.value.idempotency_key == "k1"
    assert f"The server at {base_url.removesuffix('/v1')} could not be reached" in str(caught.value)
    assert "Check the connection, base_url" in str(caught.value)


async def test_a_request_that_was_not_sent_whole_is_retried_and_not_billed(make_client: MakeClient) -> None:
    async def handler(talk: Conversation) -> None:
        await talk.head()

    async with serving(handler) as server, make_client(server.base_url) as client:
        with pytest.raises(errors.APIConnectionError) as caught:
            await client.images.edit(HUGE, "a cat")
        assert server.connections == 4

    assert type(caught.value) is errors.APIConnectionError
    assert not caught.value.maybe_billed


async def test_a_complete_request_without_a_response_is_retried_at_most_once(make_client: MakeClient) -> None:
    error, server = await failing(make_client, in_turn(*[close] * 9))

    assert type(error) is errors.OutcomeUnknownError
    assert (error.attempts, error.maybe_billed) == (2, True)
    assert len(server.requests) == 2


async def test_at_most_once_never_retries_a_request_that_was_sent(make_client: MakeClient) -> None:
    policy = RetryPolicy(backoff=0, delivery="at_most_once")

    for step in (close, says(ERROR, 500), says(b"what?")):
        error, server = await failing(make_client, in_turn(*[step] * 9), retry=policy)
        assert (error.attempts, error.maybe_billed, len(server.requests)) == (1, True, 1)


async def test_a_second_attempt_reports_that_the_first_may_have_been_billed(make_client: MakeClient) -> None:
    for first in (close, says(ERROR, 500), says(ERROR, 502)):
        response, _ = await succeeding(make_client, in_turn(first, says(ANSWER)))
        assert (response.attempts, response.maybe_billed_before) == (2, True)

    response, _ = await succeeding(make_client, in_turn(says(ERROR, 409), says(ANSWER)))
    assert (response.attempts, response.maybe_billed_before) == (2, False)


async def test_a_rejected_request_is_not_retried(make_client: MakeClient) -> None:
    for status in (302, 400, 401, 403, 404, 422):
        error, server = await failing(make_client, always(ERROR, status, location="/elsewhere"))
        assert isinstance(error, errors.APIStatusError)
        assert (error.status_code, error.attempts, error.maybe_billed) == (status, 1, False)
        assert len(server.requests) == 1


async def test_a_rejection_reports_an_earlier_attempt_that_may_be_billed(make_client: MakeClient) -> None:
    for first, maybe_billed in ((close, True), (says(ERROR, 409), False)):
        error, _ = await failing(make_client, in_turn(first, says(ERROR, 400)))
        assert isinstance(error, errors.APIStatusError)
        assert (error.attempts, error.maybe_billed) == (2, maybe_billed)


async def test_a_hanging_server_ends_at_the_time_out_of_the_call(make_client: MakeClient) -> None:
    async def handler(talk: Conversation) -> None:
        await talk.request()
        await talk.dropped()

    error, server = await failing(make_client, handler, timeout=0.2)

    assert type(error) is errors.OutcomeUnknownTimeoutError
    assert (error.attempts, error.maybe_billed, server.connections) == (1, True, 1)


async def test_the_time_out_of_an_attempt_leaves_time_for_another(make_client: MakeClient) -> None:
    async def hang(talk: Conversation) -> None:
        await talk.dropped()
        talk.hang_up()

    response, _ = await succeeding(
        make_client, in_turn(hang, says(ANSWER)), timeout=Timeouts(attempt=0.2, total=60)
    )

    assert (response.attempts, response.maybe_billed_before) == (2, True)


@pytest.mark.parametrize("length", [len(ANSWER), None])
async def test_a_success_cut_halfway_was_probably_billed_and_is_not_repeated(
    make_client: MakeClient, length: int | None
) -> None:
    async def cut(talk: Conversation) -> None:
        end = f"content-length: {length}" if length else "connection: close"
        head = f"HTTP/1.1 200 OK\r\nx-request-id: req_1\r\n{end}\r\n\r\n"
        await talk.send(head.encode() + ANSWER[:-40])
        talk.hang_up()

    error, server = await failing(make_client, in_turn(cut, cut), retry=FAST)

    assert type(error) is errors.APIResponseError
    assert (error.attempts, error.maybe_billed, error.request_id) == (1, True, "req_1")
    assert len(server.requests) == 1


HTML = answer(b"<!DOCTYPE html><title>502</title>")
POLICIES = [
    RetryPolicy(backoff=0),
    RetryPolicy(backoff=0, max_ambiguous=5, max_attempts=9),
    RetryPolicy(backoff=0, delivery="at_most_once"),
]


@pytest.mark.parametrize("policy", POLICIES, ids=["default", "stubborn", "at most once"])
@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b'{"created": 1, "data": []}', 200, errors.APIResponseError),
        (b'{"data": [{"b64_json": null, "url": ""}]}', 200, errors.APIResponseError),
        (b'{"data": [{"error": {"message": "no room"}}]}', 200, errors.APIResponseError),
        (b'{"data": [{"finish_reason": "content_filter"}]}', 200, errors.ModerationError),
        (b"what?", 200, errors.APIResponseError),
        (b'{"error": {"code": "server_error", "message": "oh no"}}', 200, errors.InternalServerError),
        (HTML, 200, errors.APIResponseError),
        (answer("<html>é".encode("latin-1")), 200, errors.APIResponseError),
        (b'{"task_id": "t-1"}', 202, errors.PendingTaskError),
        (b"", 202, errors.PendingTaskError),
    ],
)
async def test_whatever_came_with_a_success_status_is_billed_and_not_asked_for_again(
    make_client: MakeClient, body: bytes, status: int, kind: type[errors.APIError], policy: RetryPolicy
) -> None:
    error, server = await failing(make_client, always(body, status, x_request_id="req_1"), retry=policy)

    assert type(error) is kind
    assert (error.attempts, error.maybe_billed, error.request_id) == (1, True, "req_1")
    assert len(server.requests) == 1


async def test_a_response_with_fewer_images_is_a_success_that_counts_and_logs_the_missing_ones(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    page = {"b64_json": base64.b64encode(b"<html>busy</html>").decode()}
    image = {"b64_json": base64.b64encode(SMALL).decode()}
    body = json.dumps({"data": [page, image, {"finish_reason": "SAFETY"}, None]}).encode()
    async with serving(always(body)) as server, make_client(server.base_url) as client:
        response = await client.images.generate("a cat", n=4)

    assert [(each.index, each.bytes) for each in response] == [(0, SMALL)]
    assert response.missing == 3
    assert (
        "4 images were requested and 1 arrived (the image is the text '<html>busy</html>'; SAFETY)"
        in caplog.text
    )


async def test_no_time_out_repeats_what_came_with_a_success_status(make_client: MakeClient) -> None:
    async def half(talk: Conversation) -> None:
        await talk.request()
        await talk.send(b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n" + ANSWER[:20])
        await talk.dropped()

    error, server = await failing(make_client, half, timeout=Timeouts(attempt=0.05))

    assert type(error) is errors.OutcomeUnknownTimeoutError
    assert (error.attempts, len(server.requests)) == (1, 1)


async def test_an_error_response_that_is_cut_halfway_is_still_that_error(make_client: MakeClient) -> None:
    async def cut(talk: Conversation) -> None:
        await talk.send(b"HTTP/1.1 401 No\r\ncontent-length: 999\r\n\r\n" + ERROR[:-5])
        talk.hang_up()

    error, _ = await failing(make_client, in_turn(cut))

    assert isinstance(error, errors.APIStatusError)
    assert (error.status_code, error.attempts, error.maybe_billed) == (401, 1, False)


async def test_a_retry_waits_as_long_as_the_server_asks(make_client: MakeClient) -> None:
    events: list[Event] = []
    handler = in_turn(says(ERROR, 503, retry_after="0.02"), says(ANSWER))

    response, _ = await succeeding(make_client, handler, observers=[events.append])

    assert response.attempts == 2
    assert [event.delay for event in events if isinstance(event, RetryScheduled)] == [0.02]


async def test_a_retry_after_beyond_the_maximum_ends_the_call(make_client: MakeClient) -> None:
    for header, value, timeout in (
        ("retry_after", "3600", None),
        ("retry_after", "2", 1),
        ("x_should_retry", "false", 60),
    ):
        handler = always(ERROR, 503, **{header: value})
        error, _ = await failing(make_client, handler, timeout=timeout)
        assert isinstance(error, errors.InternalServerError)
        assert error.attempts == 1


async def test_a_429_waits_for_the_limit_and_uses_up_no_attempt(make_client: MakeClient) -> None:
    refusals, limit = [says(ERROR, 429, retry_after_ms="20")] * 3, RateLimit(100, per=0.1)
    for max_attempts, steps in ((1, [says(ANSWER)]), (2, [says(ERROR, 409), says(ANSWER)])):
        policy = RetryPolicy(max_attempts=max_attempts, backoff=0)
        response, _ = await succeeding(
            make_client, in_turn(*refusals, *steps), retry=policy, rate_limit=limit
        )
        assert (response.attempts, response.maybe_billed_before) == (3 + len(steps), False)


async def test_without_a_limit_a_429_is_an_attempt_like_any_other(make_client: MakeClient) -> None:
    response, _ = await succeeding(make_client, in_turn(says(ERROR, 429, retry_after_ms="1"), says(ANSWER)))
    assert response.attempts == 2

    error, server = await failing(make_client, always(ERROR, 429, retry_after_ms="1"))
    assert isinstance(error, errors.RateLimitError)
    assert (error.attempts, error.retry_after, len(server.requests)) == (4, 0.001, 4)
    assert not error.maybe_billed


async def test_a_429_whose_wait_passes_the_deadline_is_a_limit_error(make_client: MakeClient) -> None:
    error, _ = await failing(
        make_client, always(ERROR, 429, retry_after="30"), rate_limit=RateLimit(), timeout=5
    )

    assert isinstance(error, errors.LimitWaitError)
    assert error.attempts == 1
    assert error.retry_after is not None


async def test_a_request_that_never_fits_is_an_error_with_facts_of_the_call(make_client: MakeClient) -> None:
    async with serving(always(ANSWER)) as server:
        async with make_client(server.base_url, rate_limit=RateLimit(2)) as client:
            with pytest.raises(errors.LimitWaitError, match="can never fit") as caught:
                await client.images.generate("a cat", n=3, idempotency_key="k1")
        assert server.connections == 0

    assert (caught.value.attempts, caught.value.idempotency_key) == (0, "k1")


async def test_observers_receive_the_events_of_a_call_and_cannot_disturb_it(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[Event] = []

    def broken(event: Event) -> None:
        raise ValueError("a bug of the observer's")

    _, server = await succeeding(
        make_client,
        in_turn(says(ERROR, 500, x_request_id="req_1"), says(ANSWER)),
        observers=[broken, events.append],
        rate_limit=RateLimit(1, per=0.05),
    )

    if isinstance(events[1], LimitWaited):  # a busy machine may make any wait notable
        del events[1]
    attempt = [AttemptStarted, ResponseReceived]
    expected = [CallStarted, *attempt, RetryScheduled, LimitWaited, *attempt, CallEnded]
    assert [type(event) for event in events] == expected
    begun, started, answered, scheduled, *_, ended = events
    assert isinstance(begun, CallStarted)
    assert (begun.operation, begun.images, begun.server) == ("generate", 1, server.base_url)
    assert begun.prompt is not None
    assert begun.prompt.reveal() == "a cat"
    assert "a cat" not in repr(events)
    assert isinstance(ended, CallEnded)
    assert (ended.error, ended.attempts, ended.images, ended.maybe_billed) == (None, 2, 1, True)
    assert isinstance(started, AttemptStarted)
    assert (started.method, started.path, started.attempt) == ("POST", "/images/generations", 1)
    assert isinstance(answered, ResponseReceived)
    assert (answered.status_code, answered.request_id) == (500, "req_1")
    assert isinstance(scheduled, RetryScheduled)
    assert (scheduled.attempt, scheduled.reason, scheduled.maybe_billed) == (1, "InternalServerError", True)
    assert (
        len({event.call_id for event in events if not isinstance(event, RunStarted | JobEnded | RunEnded)})
        == 1
    )
    assert "a bug of the observer's" in caplog.text
    assert "may have been billed" in caplog.text
