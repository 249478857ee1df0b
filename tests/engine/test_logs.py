"""The log of ``imagesdk``: one line for each call that has ended, without key, prompt or query."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from imagesdk import AsyncClient, RateLimit, RetryPolicy, errors
from imagesdk.events import ResponseReceived
from tests.support.small_images import answer, png
from tests.support.socket_servers import Conversation, Handler, always, in_turn, says, serving
from tests.support.streamed_answers import completed, partial, streams

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]

KEY = "sk-SECRET-0123456789abcdef"
PROMPT = "a forbidden city"
ANSWER = answer(png(), revised_prompt=PROMPT)
REFUSED = b'{"error": {"message": "no a forbidden city", "code": "x"}}'
SECONDS = re.compile(r"[0-9.]+ s\b")
MakeClient: TypeAlias = Callable[..., AsyncClient]
Log: TypeAlias = pytest.LogCaptureFixture


@pytest.fixture(autouse=True)
def log(caplog: Log) -> pytest.LogCaptureFixture:
    """The log, from its lowest level."""
    caplog.set_level(logging.DEBUG, "imagesdk")
    return caplog


def lines(log: Log) -> list[str]:
    """The lines of the log, with every number of seconds as S, after a look for what must not be in them."""
    records = [record for record in log.records if record.name == "imagesdk"]
    for record in records:
        logged = record.getMessage() + repr(record.args)
        assert [word for word in (KEY, PROMPT, "forbidden", "signature") if word in logged] == []
    shown = [f"{record.levelname} {SECONDS.sub('S', record.getMessage())}" for record in records]
    return [line for line in shown if "trying again" not in line]


async def fail(client: AsyncClient, kind: type[Exception], **options: Any) -> None:
    with pytest.raises(kind):
        await client.images.generate(PROMPT, **options)


async def hang_up(talk: Conversation) -> None:
    await talk.request()
    talk.hang_up()


async def test_a_successful_call_is_one_debug_record(make_client: MakeClient, log: Log) -> None:
    steps = in_turn(says(REFUSED, 503), says(ANSWER, x_request_id="req_1"))
    async with serving(steps) as server, make_client(server.base_url, api_key=KEY) as client:
        await client.images.generate(PROMPT)
    assert lines(log) == [
        "DEBUG POST /images/generations succeeded after S (status 200, 2 attempts, request id req_1)"
    ]


BILLED = ", may have been billed"


@pytest.mark.parametrize(
    ("handler", "kind", "logged"),
    [
        (
            always(REFUSED, 400, x_request_id="req_2"),
            errors.BadRequestError,
            " (status 400, 1 attempt, request id req_2)",
        ),
        (always(b"", 500), errors.InternalServerError, f"{BILLED} (status 500, 2 attempts, request id none)"),
        (
            always(b"what?", x_request_id="req_3"),
            errors.APIResponseError,
            f"{BILLED} (status none, 1 attempt, request id req_3)",
        ),
        (hang_up, errors.OutcomeUnknownError, f"{BILLED} (status none, 2 attempts, request id none)"),
    ],
    ids=["refused", "failed", "cannot be read", "no answer"],
)
async def test_a_failed_call_is_one_info_record(
    handler: Handler, kind: type[Exception], logged: str, make_client: MakeClient, log: Log
) -> None:
    async with serving(handler) as server, make_client(server.base_url, api_key=KEY) as client:
        await fail(client, kind)
    assert lines(log) == [f"INFO POST /images/generations failed after S: {kind.__name__}{logged}"]


async def test_a_call_that_never_fits_the_limit_is_one_record(make_client: MakeClient, log: Log) -> None:
    async with make_client("https://images.test/v1", rate_limit=RateLimit(1)) as client:
        await fail(client, errors.LimitWaitError, n=2)
    assert lines(log) == [
        "INFO POST /images/generations failed after S: LimitWaitError (status none, 0 attempts, request id none)"
    ]


async def test_an_os_error_is_logged_by_its_class_alone(
    make_client: MakeClient, log: Log, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", f"/{PROMPT}")

    monkeypatch.setattr("imagesdk._engine.sink.ImageSink.write", full)
    async with serving(always(ANSWER)) as server, make_client(server.base_url) as client:
        await fail(client, OSError, out=tmp_path)
    assert lines(log) == [
        "INFO POST /images/generations failed after S: OSError (status none, 1 attempt, request id none)"
    ]


async def test_a_raw_request_is_logged_without_its_host_and_query(make_client: MakeClient, log: Log) -> None:
    async with serving(always(b"{}")) as server, make_client(server.base_url, api_key=KEY) as client:
        await client.request("GET", "/models?sig=signature", query={"more": "signature"})
        await client.request("GET", f"{server.base_url}/models?sig=signature")
    logged = "succeeded after S (status 200, 1 attempt, request id none)"
    assert lines(log) == [f"DEBUG GET /models {logged}", f"DEBUG GET /v1/models {logged}"]


async def test_a_stream_is_logged_when_it_has_ended(make_client: MakeClient, log: Log) -> None:
    handler = in_turn(
        streams(partial(png()), completed(png()), x_request_id="req_4"),
        streams(partial(png()), x_request_id="req_5"),
        streams(partial(png()), completed(png()), x_request_id="req_6"),
        says(REFUSED, 400),
    )
    async with serving(handler) as server, make_client(server.base_url, api_key=KEY) as client:
        async with client.images.generate_stream(PROMPT, partial_images=1) as stream:
            assert lines(log) == []
            await stream.final()
        with pytest.raises(errors.StreamError):
            async with client.images.generate_stream(PROMPT, partial_images=1) as stream:
                await stream.final()
        with pytest.raises(ZeroDivisionError):
            async with client.images.generate_stream(PROMPT, partial_images=1) as stream:
                raise ZeroDivisionError
        with pytest.raises(errors.BadRequestError):
            async with client.images.generate_stream(PROMPT):
                pass
    where = "POST /images/generations"
    billed = "failed after S: StreamError, may have been billed (status 200, 1 attempt, request id"
    assert lines(log) == [
        f"DEBUG {where} succeeded after S (status 200, 1 attempt, request id req_4)",
        f"INFO {where} {billed} req_5)",
        f"INFO {where} {billed} req_6)",
        f"INFO {where} failed after S: BadRequestError (status 400, 1 attempt, request id none)",
    ]


async def test_a_request_id_brings_no_key_or_line_break_to_the_log(make_client: MakeClient, log: Log) -> None:
    async def cut(talk: Conversation) -> None:
        await talk.send(f"HTTP/1.1 200 OK\r\nx-request-id: {KEY}\r\ncontent-length: 99\r\n\r\n{{".encode())
        talk.hang_up()

    seen: list[object] = []
    handler = in_turn(
        cut,
        says(ANSWER, x_request_id=KEY),
        says(REFUSED, 400, x_request_id=KEY),
        says(ANSWER, x_request_id="\x85" + "x" * 999),
    )
    policy = RetryPolicy(max_attempts=1)
    terms: dict[str, Any] = {"api_key": KEY, "retry": policy, "observers": [seen.append]}
    async with serving(handler) as server, make_client(server.base_url, **terms) as client:
        await fail(client, errors.APIResponseError)
        await client.images.generate(PROMPT)
        await fail(client, errors.BadRequestError)
        await client.images.generate(PROMPT)
    logged = [line.partition("request id ")[2] for line in lines(log)]
    assert logged == [*["<the key>)"] * 3, f" {'x' * 196}...)"]
    assert next(event.request_id for event in seen if isinstance(event, ResponseReceived)) == "<the key>"
    assert KEY not in repr(seen)
