"""Tokens from a function of the user's: when it is asked, what it may return, and what becomes of its errors."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import anyio
import anyio.to_thread
import httpx
import pytest
import respx
from attrs import frozen

from imagesdk import APITimeoutError, AsyncClient, AuthenticationError, ConfigurationError
from imagesdk._engine.tokens import MARGIN, UNKNOWN_LIFE, BearerTokenSource, current_key
from tests.support.leaks import KEY, leaks
from tests.support.sent_requests import sent_to
from tests.support.small_images import answer, png

pytestmark = pytest.mark.anyio
URL = "https://cats.openai.azure.com/openai/v1/images/generations"
NOW = 1_000_000.0
TOKEN = "token-0123456789ab"


class AccessToken(NamedTuple):
    token: str
    expires_on: int


@frozen
class AccessTokenInfo:
    token: str
    expires_on: int
    token_type: str = "Bearer"


def azure(provider: Callable[[], Any], **options: Any) -> AsyncClient:
    return AsyncClient.azure(
        "https://cats.openai.azure.com", deployment="d", token_provider=provider, rate_limit=None, **options
    )


class Clocks:
    """A source with clocks of the test's, and a provider that counts its calls."""

    def __init__(self, life: float | None) -> None:
        self.now = 0.0
        self.calls = 0
        self.life = life
        self.source = BearerTokenSource(
            self.provide, clock=lambda: self.now, wall_clock=lambda: NOW + self.now
        )

    def provide(self) -> Any:
        self.calls += 1
        text = f"token-{self.calls}"
        return text if self.life is None else (text, NOW + self.now + self.life)

    async def token(self) -> str:
        return (await self.source.get()).reveal()


@pytest.mark.parametrize(("life", "kept"), [(3600.0, 3600 - MARGIN), (None, UNKNOWN_LIFE)])
async def test_a_token_is_cached_until_shortly_before_its_expiry(life: float | None, kept: float) -> None:
    clocks = Clocks(life)

    assert await clocks.token() == "token-1"
    clocks.now = kept - 1
    assert await clocks.token() == "token-1"
    clocks.now = kept
    assert await clocks.token() == "token-2"


async def test_a_token_that_is_about_to_expire_is_used_once() -> None:
    clocks = Clocks(MARGIN / 2)

    assert [await clocks.token(), await clocks.token()] == ["token-1", "token-2"]


@pytest.mark.parametrize(
    "given",
    [TOKEN, (TOKEN, NOW), AccessToken(TOKEN, 5), AccessTokenInfo(TOKEN, 5)],
    ids=["text", "pair", "named tuple", "object"],
)
async def test_each_form_of_a_token_is_accepted(given: Any) -> None:
    source = BearerTokenSource(lambda: given)

    assert (await source.get()).reveal() == TOKEN
    assert "token-01" not in repr(source)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (None, "not NoneType"),
        ("", "must return a token"),
        (b"bytes", "not bytes"),
        ((None, 5), "must return a token"),
        (("a-token", "tomorrow"), "seconds since the epoch"),
        (("a-token", True), "seconds since the epoch"),
        (f"{KEY}\nwith a line", "The token contains a space"),
    ],
)
@respx.mock
async def test_a_value_that_is_no_token_raises_and_nothing_is_sent(given: Any, says: str) -> None:
    route = respx.post(URL).respond(content=answer(png()))

    async with azure(lambda: given) as client:
        with pytest.raises(ConfigurationError, match=says) as caught:
            await client.images.generate("a cat")

    assert not route.called
    assert not leaks(caught.value)


@respx.mock
async def test_an_error_of_the_provider_is_chained_and_nothing_is_sent() -> None:
    route = respx.post(URL).respond(content=answer(png()))

    def fail() -> str:
        raise LookupError("no credential is configured")

    async with azure(fail) as client:
        with pytest.raises(AuthenticationError, match="token_provider failed with LookupError") as caught:
            await client.images.generate("a cat")

    assert isinstance(caught.value.__cause__, LookupError)
    assert (caught.value.attempts, caught.value.maybe_billed) == (0, False)
    assert caught.value.idempotency_key
    assert not route.called


async def test_an_async_provider_raises() -> None:
    async def provide() -> str:
        return "a-token"

    class Provider:
        async def __call__(self) -> str:
            return "a-token"

    def hidden() -> object:
        return provide()

    for provider in (provide, Provider()):
        with pytest.raises(ConfigurationError, match=r"not from azure\.identity\.aio"):
            azure(provider)
    async with azure(hidden) as client:
        with pytest.raises(ConfigurationError, match=r"not from azure\.identity\.aio"):
            await client.images.generate("a cat")


async def test_many_calls_ask_the_provider_once_without_blocking_the_loop() -> None:
    started, go_on = threading.Event(), threading.Event()
    calls: list[int] = []

    def provide() -> tuple[str, float]:
        calls.append(threading.get_ident())
        started.set()
        assert go_on.wait(10)
        return "a-token", 4e9

    source = BearerTokenSource(provide)
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(source.get)
        assert await anyio.to_thread.run_sync(started.wait, 10)
        go_on.set()

    assert len(calls) == 1
    assert calls[0] != threading.get_ident()


async def test_a_call_does_not_wait_longer_for_a_token_than_it_has_time() -> None:
    go_on = threading.Event()

    def provide() -> str:
        go_on.wait(10)
        return "a-token"

    try:
        with pytest.raises(APITimeoutError, match="Nothing was sent"):
            await current_key(BearerTokenSource(provide), 0.01)
    finally:
        go_on.set()


@respx.mock
async def test_after_a_401_the_next_call_asks_for_another_token() -> None:
    tokens = iter(["first-token-0123456789", "second-token-0123456789"])
    refusal = {"error": {"code": "401", "message": "first-token-0123456789 is not valid"}}
    steps = [httpx.Response(401, json=refusal), httpx.Response(200, content=answer(png()))]
    route = respx.post(URL).mock(side_effect=steps)

    async with azure(lambda: next(tokens)) as client:
        with pytest.raises(AuthenticationError, match="<the key> is not valid"):
            await client.images.generate("a cat")
        await client.images.generate("a cat")

    assert [request.headers["authorization"] for request in sent_to(route)] == [
        "Bearer first-token-0123456789",
        "Bearer second-token-0123456789",
    ]
