"""``with_options``: the same connections and limits with other options; closing a view closes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from imagesdk import (
    AsyncClient,
    Caps,
    Client,
    ConfigurationError,
    InternalServerError,
    InvalidRequestError,
    LimitWaitError,
    OutcomeUnknownTimeoutError,
    RateLimit,
    RetryPolicy,
    Timeouts,
)
from imagesdk.emulator import Emulator
from imagesdk.errors import APIResponseError
from imagesdk.events import AttemptStarted, Event
from tests.support.small_images import answer, png
from tests.support.socket_servers import always, serving

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]
MakeClient = Callable[..., AsyncClient]
SMALL: dict[str, Any] = {"model": "dall-e-2", "size": "256x256"}


async def test_a_view_shares_the_connection_and_closing_it_closes_nothing(make_client: MakeClient) -> None:
    async with serving(always(answer(png()))) as server, make_client(server.base_url) as client:
        async with client.with_options(timeout=30) as view:
            assert type(view) is AsyncClient
            await view.images.generate("a cat")
        await client.images.generate("a cat")
        await view.images.generate("a cat")
        assert server.connections == 1


async def test_each_option_applies_to_the_view_and_not_to_its_client(
    emulator: Emulator, make_client: MakeClient
) -> None:
    seen: list[Event] = []
    async with make_client(emulator.base_url) as client:
        once = client.with_options(retry=RetryPolicy(max_attempts=1))
        emulator.state.faults.http(503)
        with pytest.raises(InternalServerError):
            await once.images.generate("a cat", **SMALL)
        emulator.state.faults.http(503)
        await client.images.generate("a cat", **SMALL)

        with pytest.raises(InvalidRequestError):
            await client.images.generate("a cat", model="dall-e-2", size="1x1")
        with pytest.raises(Exception, match="The server answered 400"):
            await client.with_options(check=False).images.generate("a cat", model="dall-e-2", size="1x1")

        small = client.with_options(caps=Caps(image=10))
        with pytest.raises(APIResponseError, match="larger than 10 bytes"):
            await small.images.generate("a cat", **SMALL, response_format="b64_json")

        await client.with_options(observers=[seen.append]).images.generate("a cat", **SMALL)
        await client.images.generate("a cat", **SMALL)
        assert [type(event) for event in seen].count(AttemptStarted) == 1

        emulator.state.faults.connection(delay=30)
        with pytest.raises(OutcomeUnknownTimeoutError):
            await once.with_options(timeout=Timeouts(attempt=0.05)).images.generate("a cat", **SMALL)


async def test_a_view_counts_in_the_windows_of_its_client(
    emulator: Emulator, make_client: MakeClient
) -> None:
    async with make_client(emulator.base_url, rate_limit=RateLimit(images=2)) as client:
        view = client.with_options(timeout=1)
        await client.images.generate("a cat", **SMALL, n=2)
        with pytest.raises(LimitWaitError):
            await view.images.generate("a cat", **SMALL)
        await view.with_options(rate_limit=None).images.generate("a cat", **SMALL)


async def test_headers_are_added_and_those_of_a_call_override_them(make_client: MakeClient) -> None:
    async with serving(always(answer(png()))) as server:
        async with make_client(server.base_url, default_headers={"X-Team": "a", "X-Run": "1"}) as client:
            view = client.with_options(default_headers={"x-run": "2"})
            await client.images.generate("a cat")
            await view.images.generate("a cat")
            await view.images.generate("a cat", extra_headers={"X-Run": "3"})
    sent = [(request.headers["x-team"], request.headers["x-run"]) for request in server.requests]
    assert sent == [("a", "1"), ("a", "2"), ("a", "3")]


def test_an_option_that_a_view_cannot_change_is_refused() -> None:
    client = AsyncClient(api_key="", base_url="http://127.0.0.1:9/v1")
    with pytest.raises(ConfigurationError, match="needs another client"):
        client.with_options(base_url="http://127.0.0.1:8/v1")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    with pytest.raises(ConfigurationError, match="set by the client itself"):
        client.with_options(default_headers={"Authorization": "Bearer x"})


def test_a_blocking_view_closes_nothing_either(emulator: Emulator) -> None:
    with Client(api_key="", base_url=emulator.base_url, rate_limit=None) as client:
        with client.with_options(timeout=30) as view:
            assert type(view) is Client
            view.images.generate("a cat", **SMALL)
        client.images.generate("a cat", **SMALL)
        view.images.generate("a cat", **SMALL)
    with pytest.raises(RuntimeError, match="closed"):
        view.images.generate("a cat", **SMALL)
