"""Faults: error responses and broken or slow connections."""

from collections.abc import Callable

import httpx
import pytest

from imagesdk.emulator import Emulator, EmulatorState

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("tiny_drawings")]

Connect = Callable[..., httpx.AsyncClient]
BODY = {"model": "dall-e-2", "prompt": "x", "size": "256x256"}


async def ask(api: httpx.AsyncClient) -> httpx.Response:
    return await api.post("/images/generations", json=BODY)


async def test_an_http_fault_replaces_one_response(connect: Connect, state: EmulatorState) -> None:
    api = connect()
    state.faults.http(503, headers={"retry-after": "7"}, body={"detail": "busy"})

    broken, whole = await ask(api), await ask(api)

    assert (broken.status_code, broken.json(), broken.headers["retry-after"]) == (
        503,
        {"detail": "busy"},
        "7",
    )
    assert broken.headers["content-type"] == "application/json"
    assert broken.headers["x-request-id"].startswith("req_")
    assert whole.status_code == 200
    assert state.billed_images == 1


async def test_faults_apply_in_the_order_of_the_queue(connect: Connect, state: EmulatorState) -> None:
    api = connect()
    state.faults.http(500, times=2)
    state.faults.http(429)

    assert [(await ask(api)).status_code for _ in range(4)] == [500, 500, 429, 200]


async def test_a_request_with_a_fault_is_recorded(connect: Connect, state: EmulatorState) -> None:
    state.faults.http(500)

    await ask(connect())

    (record,) = state.requests
    assert (record.model, record.prompt, record.status) == ("dall-e-2", "x", 500)


@pytest.mark.parametrize(("status", "code"), [(429, "rate_limit_exceeded"), (500, "server_error")])
async def test_an_http_fault_without_a_body_has_the_usual_error(
    connect: Connect, state: EmulatorState, status: int, code: str
) -> None:
    state.faults.http(status)

    answer = await ask(connect())

    assert answer.json()["error"]["code"] == code


@pytest.mark.parametrize("body", ["<html>Bad gateway</html>", b"\xff\x00", ""])
async def test_an_http_fault_may_have_any_body_and_headers(
    connect: Connect, state: EmulatorState, body: str | bytes
) -> None:
    state.faults.http(502, body=body, headers={"content-type": "text/html", "x-request-id": "mine"})

    answer = await ask(connect())

    assert answer.content == (body.encode() if isinstance(body, str) else body)
    assert (answer.headers["content-type"], answer.headers["x-request-id"]) == ("text/html", "mine")


async def test_an_http_fault_after_the_work_is_billed(connect: Connect, state: EmulatorState) -> None:
    state.faults.http(500, after_work=True)

    answer = await ask(connect())

    assert (answer.status_code, state.billed_images) == (500, 1)


async def test_a_rejected_request_uses_up_its_fault(connect: Connect, state: EmulatorState) -> None:
    api = connect()
    state.faults.http(500, after_work=True)

    bad = await api.post("/images/generations", json={})

    assert bad.status_code == 400
    assert (await ask(api)).status_code == 200


async def test_a_fault_on_downloads_does_not_affect_image_requests(
    connect: Connect, state: EmulatorState
) -> None:
    api = connect()
    state.faults.http(503, on="downloads")

    url = (await ask(api)).json()["data"][0]["url"]

    assert [(await api.get(url)).status_code for _ in range(2)] == [503, 200]


async def test_a_truncated_response_announces_more_than_it_sends(emulator: Emulator) -> None:
    emulator.state.faults.connection(truncate=30)

    async with httpx.AsyncClient(base_url=emulator.base_url) as api:
        async with api.stream("POST", "/images/generations", json=BODY) as answer:
            assert answer.status_code == 200
            assert int(answer.headers["content-length"]) > 30
            with pytest.raises(httpx.RemoteProtocolError):
                await answer.aread()
            assert answer.num_bytes_downloaded == 30
        assert (await ask(api)).status_code == 200

    assert emulator.state.billed_images == 2


async def test_a_truncated_download_ends_early(emulator: Emulator) -> None:
    async with httpx.AsyncClient(base_url=emulator.base_url) as api:
        url = (await ask(api)).json()["data"][0]["url"]
        emulator.state.faults.connection(truncate=100, on="downloads")

        with pytest.raises(httpx.RemoteProtocolError):
            await api.get(url)

        assert (await api.get(url)).status_code == 200


@pytest.mark.parametrize("after_work", [False, True])
async def test_a_dropped_connection_has_no_response(emulator: Emulator, after_work: bool) -> None:
    emulator.state.faults.connection(drop=True, after_work=after_work)

    async with httpx.AsyncClient(base_url=emulator.base_url) as api:
        with pytest.raises(httpx.RemoteProtocolError):
            await ask(api)

    (record,) = emulator.state.requests
    assert (record.prompt, record.status) == ("x", None)
    assert emulator.state.billed_images == int(after_work)


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_in_process_a_dropped_connection_is_an_error_of_the_transport(
    connect: Connect, state: EmulatorState
) -> None:
    state.faults.connection(drop=True)

    with pytest.raises(ConnectionResetError):
        await ask(connect())


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
async def test_a_known_error_is_queued_by_name(
    connect: Connect, state: EmulatorState, name: str, status: int, kind: str, code: str | None
) -> None:
    state.faults.http(error=name)

    answer = await ask(connect())

    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (status, kind, code)
    assert state.billed_images == 0


async def test_a_known_error_may_have_another_status(connect: Connect, state: EmulatorState) -> None:
    state.faults.http(400, error="organization_unverified")

    answer = await ask(connect())

    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("Your organization must be verified")


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_late_response_is_complete(connect: Connect, state: EmulatorState) -> None:
    state.faults.connection(delay=0.001)

    assert len((await ask(connect())).json()["data"]) == 1


@pytest.mark.parametrize("sent", [0, 30])
async def test_a_late_response_may_be_truncated_too(emulator: Emulator, sent: int) -> None:
    emulator.state.faults.connection(delay=0.001, truncate=sent)

    async with httpx.AsyncClient(base_url=emulator.base_url) as api:
        with pytest.raises(httpx.RemoteProtocolError):
            await ask(api)


def test_a_fault_with_an_unknown_error_raises_value_error(state: EmulatorState) -> None:
    with pytest.raises(ValueError, match="error is one of server_error"):
        state.faults.http(error="out_of_paint")
    with pytest.raises(ValueError, match="error is one of server_error"):
        state.faults.stream(error="out_of_paint")


def test_a_fault_without_an_effect_raises_value_error(state: EmulatorState) -> None:
    with pytest.raises(ValueError, match=r"faults\.http\(\) needs a status or error="):
        state.faults.http(after_work=True)
    with pytest.raises(ValueError, match=r"faults\.stream\(\) needs error="):
        state.faults.stream(after_events=1)
    with pytest.raises(ValueError, match=r"faults\.connection\(\) needs drop=True"):
        state.faults.connection(after_work=True)
    with pytest.raises(ValueError, match="on is one of images, downloads, files, not 'videos'"):
        state.faults.http(500, on="videos")  # type: ignore[arg-type] # not one of the type either

    assert len(state.faults) == 0
