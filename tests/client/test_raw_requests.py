"""``client.request``, and the request ids for the logs of servers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import respx

from imagesdk import (
    APIResponseError,
    AsyncClient,
    BadRequestError,
    Client,
    ConfigurationError,
    InvalidRequestError,
    LimitWaitError,
    NotFoundError,
    OutcomeUnknownError,
    RateLimit,
    RawResponse,
    RetryPolicy,
)
from imagesdk.emulator import Emulator
from tests.support.leaks import KEY
from tests.support.sent_requests import sent_to
from tests.support.small_images import answer, png
from tests.support.socket_servers import Conversation, serving

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]
BASE = "https://images.test/v1"


def client_of(base_url: str = BASE, **options: Any) -> AsyncClient:
    terms: dict[str, Any] = {"api_key": KEY, "rate_limit": None, "retry": RetryPolicy(backoff=0), **options}
    return AsyncClient(base_url=base_url, **terms)


async def test_the_models_of_a_server_are_listed(emulator: Emulator) -> None:
    async with client_of(emulator.base_url) as client:
        response = await client.request("get", "/models")
    assert isinstance(response, RawResponse)
    assert response.status_code == 200
    assert "gpt-image-2" in {model["id"] for model in response.json()["data"]}
    assert response.request_id == response.headers["x-request-id"]
    assert repr(response).endswith(f"content=<{len(response.content)} bytes>)")


@respx.mock
async def test_every_argument_is_sent_with_the_key() -> None:
    route = respx.post(f"{BASE}/things", params={"a": "1", "b": "2"}).respond(201, json={"made": True})

    async with client_of() as client:
        options: dict[str, Any] = {"query": {"b": "2"}, "headers": {"X-Y": "z"}, "idempotency_key": "k-1"}
        response = await client.request("POST", "things?a=1", json={"x": "é"}, **options)
        await client.request("POST", f"{BASE}/things?a=1&b=2", content=b"\x00", headers={})

    assert (response.status_code, response.json()) == (201, {"made": True})
    first, second = sent_to(route)
    assert json.loads(first.content) == {"x": "é"}
    assert first.headers["content-type"] == "application/json"
    assert (first.headers["x-y"], first.headers["idempotency-key"]) == ("z", "k-1")
    assert second.content == b"\x00"
    assert second.headers["content-type"] == "application/octet-stream"
    assert {request.headers["authorization"] for request in sent_to(route)} == {f"Bearer {KEY}"}


@pytest.mark.parametrize(
    ("status", "content", "text"),
    [(204, b"", ""), (302, b"moved", "moved"), (200, b"\xff\x00", "\ufffd\x00")],
)
@respx.mock
async def test_a_status_below_400_is_a_response_and_no_redirect_is_followed(
    status: int, content: bytes, text: str
) -> None:
    respx.get(f"{BASE}/x").respond(status, content=content, headers={"location": "https://other.test/"})
    async with client_of() as client:
        response = await client.request("GET", "/x")
    assert (response.status_code, response.content, response.text) == (status, content, text)
    with pytest.raises(APIResponseError, match="not JSON"):
        response.json()


async def test_a_status_of_400_or_above_raises_the_error_of_any_call(emulator: Emulator) -> None:
    async with client_of(emulator.base_url) as client:
        with pytest.raises(NotFoundError) as caught:
            await client.request("GET", "/models/nonsense")
    assert caught.value.code == "model_not_found"
    assert caught.value.request_id


@pytest.mark.parametrize(
    ("arguments", "param"),
    [
        *(({"path": path}, "path") for path in ("", "/a b", "/a#b", "https://other.test/v1/models")),
        ({"path": "http://images.test/v1/models"}, "path"),
        ({"path": "https://images.test.evil/v1"}, "path"),
        ({"path": "https://images.test@evil/v1"}, "path"),
        ({"method": "GET /"}, "method"),
        ({"json": {}, "content": b""}, "content"),
        ({"json": {"x": object()}}, "json"),
        ({"json": {"x": float("nan")}}, "json"),
        ({"images": -1}, "images"),
        ({"images": True}, "images"),
        ({"query": 5}, "query"),
        ({"idempotency_key": "\n"}, "idempotency_key"),
    ],
)
@respx.mock
async def test_a_wrong_request_is_refused_and_the_key_goes_to_no_other_server(
    arguments: dict[str, Any], param: str
) -> None:
    anything = respx.route().respond(200)
    given: dict[str, Any] = {"method": "POST", "path": "/x", **arguments}
    async with client_of() as client:
        with pytest.raises(InvalidRequestError) as caught:
            await client.request(**given)
    assert caught.value.param == param
    assert not anything.called


async def hang_up_after_the_request(conversation: Conversation) -> None:
    await conversation.request()
    conversation.hang_up()


@pytest.mark.parametrize(
    ("method", "options", "attempts"),
    [
        ("GET", {}, 4),
        ("POST", {"billed": False}, 4),
        ("POST", {}, 2),
        ("GET", {"billed": True}, 2),
        ("GET", {"images": 1}, 2),
    ],
)
async def test_a_request_that_may_be_billed_twice_is_retried_like_one_for_images(
    method: str, options: dict[str, Any], attempts: int
) -> None:
    async with serving(hang_up_after_the_request) as server:
        async with client_of(server.base_url, api_key="") as client:
            with pytest.raises(OutcomeUnknownError) as caught:
                await client.request(method, "/x", **options)
    assert len(server.requests) == attempts
    assert caught.value.maybe_billed is (attempts == 2)


@respx.mock
async def test_images_count_against_the_limit_of_their_model() -> None:
    respx.post(f"{BASE}/x").respond(200)
    async with client_of(rate_limit={"flux": RateLimit(images=2), "*": None}) as client:
        await client.request("POST", "/x", json={"model": "flux"}, images=2)
        await client.request("POST", "/x", json={"model": "other"}, images=2)
        await client.request("POST", "/x", json={"model": "flux"})
        with pytest.raises(LimitWaitError):
            await client.request("POST", "/x", json={"model": "flux"}, images=1, timeout=1)


def test_the_blocking_client_sends_the_same_requests(emulator: Emulator) -> None:
    with Client(base_url=emulator.base_url, api_key="") as client:
        assert client.request("GET", "/models", timeout=30).json()["object"] == "list"


@respx.mock
async def test_every_request_has_an_id_for_the_logs_of_the_server() -> None:
    route = respx.post(f"{BASE}/images/generations").respond(content=answer(png()))

    async with client_of() as client:
        response = await client.images.generate("a cat")
        await client.images.generate("a cat", idempotency_key="k-1")
        await client.images.generate("a cat", extra_headers={"X-Client-Request-Id": "n" * 512})
        route.respond(400, json={"error": "no"})
        with pytest.raises(BadRequestError, match="no") as caught:
            await client.images.generate("a cat", extra_headers={"X-Client-Request-Id": "mine"})
        for wrong in ("n" * 513, "", "é"):
            with pytest.raises(ConfigurationError):
                await client.images.generate("a cat", extra_headers={"x-client-request-id": wrong})

    names = [request.headers["x-client-request-id"] for request in sent_to(route)]
    assert names == [response.idempotency_key, "k-1", "n" * 512, "mine"]
    assert caught.value.client_request_id == "mine"


async def test_an_error_without_a_response_has_that_id_too(make_client: Callable[..., AsyncClient]) -> None:
    async with serving(hang_up_after_the_request) as server:
        async with make_client(server.base_url, retry=RetryPolicy(max_attempts=1)) as client:
            with pytest.raises(OutcomeUnknownError) as caught:
                await client.images.generate("a cat", idempotency_key="k-2")
    assert caught.value.client_request_id == "k-2"
    assert server.requests[0].headers["x-client-request-id"] == "k-2"
