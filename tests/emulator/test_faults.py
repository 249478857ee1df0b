"""Faults: error responses and broken or slow connections."""

from functools import partial
from typing import Any

import httpx
import pytest

from imagesdk.emulator import Emulator, EmulatorState, Faults
from tests.emulator.api import SMALL, Api

VIDEOS: Any = "videos"
pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("tiny_drawings")]


async def test_an_http_fault_replaces_one_response(api: Api) -> None:
    api.state.faults.http(503, headers={"retry-after": "7"}, body={"detail": "busy"})

    broken, whole = await api.generate(), await api.generate()

    assert (broken.status_code, broken.json()) == (503, {"detail": "busy"})
    assert (broken.headers["retry-after"], broken.headers["content-type"]) == ("7", "application/json")
    assert broken.headers["x-request-id"].startswith("req_")
    assert whole.status_code == 200
    assert api.state.billed_images == 1
    records = [(record.model, record.prompt, record.status) for record in api.state.requests]
    assert records == [("dall-e-2", "x", 503), ("dall-e-2", "x", 200)]


async def test_faults_apply_in_the_order_of_the_queue(api: Api) -> None:
    api.state.faults.http(500, times=2)
    api.state.faults.http(429)

    answers = [await api.generate() for _ in range(4)]

    assert [answer.status_code for answer in answers] == [500, 500, 429, 200]
    codes = [answer.json()["error"]["code"] for answer in answers[:3]]
    assert codes == ["server_error", "server_error", "rate_limit_exceeded"]


@pytest.mark.parametrize("body", ["<html>Bad gateway</html>", b"\xff\x00", ""])
async def test_an_http_fault_may_have_any_body_and_headers(api: Api, body: str | bytes) -> None:
    api.state.faults.http(502, body=body, headers={"content-type": "text/html", "x-request-id": "mine"})

    answer = await api.generate()

    assert answer.content == (body.encode() if isinstance(body, str) else body)
    assert (answer.headers["content-type"], answer.headers["x-request-id"]) == ("text/html", "mine")


@pytest.mark.parametrize(("body", "status", "billed"), [({}, 500, 1), ({"n": 0}, 400, 0)])
async def test_an_http_fault_after_the_work_is_billed_and_used_up_by_a_rejected_request_too(
    api: Api, body: dict[str, object], status: int, billed: int
) -> None:
    api.state.faults.http(500, after_work=True)

    assert ((await api.generate(**body)).status_code, api.state.billed_images) == (status, billed)
    assert (await api.generate()).status_code == 200


@pytest.mark.parametrize(
    ("name", "status", "kind", "code"),
    [
        ("insufficient_quota", 429, "insufficient_quota", "insufficient_quota"),
        ("billing_hard_limit_reached", 400, "image_generation_user_error", "billing_hard_limit_reached"),
        ("organization_unverified", 403, "invalid_request_error", None),
        ("moderation_blocked", 400, "image_generation_user_error", "moderation_blocked"),
        ("rate_limit_exceeded", 429, "requests", "rate_limit_exceeded"),
        ("server_error", 500, "server_error", "server_error"),
    ],
)
async def test_a_known_error_is_queued_by_name_and_may_have_another_status(
    api: Api, name: str, status: int, kind: str, code: str | None
) -> None:
    api.state.faults.http(error=name)
    api.state.faults.http(418, error=name)

    usual, other = await api.generate(), await api.generate()

    error = usual.json()["error"]
    assert (usual.status_code, error["type"], error["code"]) == (status, kind, code)
    assert (other.status_code, other.json()) == (418, usual.json())
    assert api.state.billed_images == 0


@pytest.mark.parametrize(("on", "path"), [("downloads", None), ("files", "/files")])
async def test_a_fault_on_another_kind_of_request_does_not_affect_image_requests(
    api: Api, on: str, path: str | None
) -> None:
    api.state.faults.http(503, on=on)  # type: ignore[arg-type] # a string in a table

    url = (await api.generate()).json()["data"][0]["url"]

    assert [(await api.get(path or url)).status_code for _ in range(2)] == [503, 200]


async def test_a_truncated_response_announces_more_than_it_sends(emulator: Emulator, socket_api: Api) -> None:
    emulator.state.faults.connection(truncate=30)

    async with socket_api.stream("GET", f"{emulator.base_url}/models") as unaffected:
        assert unaffected.status_code == 200
    async with socket_api.stream("POST", "/images/generations", json=SMALL) as answer:
        assert answer.status_code == 200
        assert int(answer.headers["content-length"]) > 30
        with pytest.raises(httpx.RemoteProtocolError):
            await answer.aread()
        assert answer.num_bytes_downloaded == 30

    url = (await socket_api.generate()).json()["data"][0]["url"]
    emulator.state.faults.connection(truncate=100, on="downloads")
    with pytest.raises(httpx.RemoteProtocolError):
        await socket_api.get(url)
    assert (await socket_api.get(url)).status_code == 200
    assert emulator.state.billed_images == 2


@pytest.mark.parametrize(
    ("terms", "status", "billed"),
    [
        ({"drop": True}, None, 0),
        ({"drop": True, "after_work": True}, None, 1),
        ({"delay": 0.001, "truncate": 0}, 200, 1),
        ({"delay": 0.001, "truncate": 30}, 200, 1),
    ],
)
async def test_a_connection_may_be_dropped_before_or_in_a_response(
    emulator: Emulator, socket_api: Api, terms: dict[str, Any], status: int | None, billed: int
) -> None:
    emulator.state.faults.connection(**terms)

    with pytest.raises(httpx.RemoteProtocolError):
        await socket_api.generate()

    (record,) = emulator.state.requests
    assert (record.prompt, record.status, emulator.state.billed_images) == ("x", status, billed)


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_in_process_a_response_may_be_late_and_a_drop_is_an_error_of_the_transport(api: Api) -> None:
    api.state.faults.connection(delay=0.001)
    assert len((await api.generate()).json()["data"]) == 1

    api.state.faults.connection(drop=True)
    with pytest.raises(ConnectionResetError):
        await api.generate()


@pytest.mark.parametrize(
    ("queue", "message"),
    [
        (partial(Faults.http, error="out_of_paint"), "error is one of server_error"),
        (partial(Faults.stream, error="out_of_paint"), "error is one of server_error"),
        (partial(Faults.http, after_work=True), r"faults\.http\(\) needs a status or error="),
        (partial(Faults.stream, after_events=1), r"faults\.stream\(\) needs error="),
        (partial(Faults.connection, after_work=True), r"faults\.connection\(\) needs drop=True"),
        (
            partial(Faults.http, status=500, on=VIDEOS),
            "on is one of images, downloads, files, checks, contents, batches, polls, cancels, not 'videos'",
        ),
    ],
)
def test_a_fault_with_unknown_words_or_without_an_effect_raises_value_error(
    state: EmulatorState, queue: partial[None], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        queue(state.faults)

    assert len(state.faults) == 0
