"""Fixtures for the whole suite: every async test runs on asyncio and on trio, none sees the machine's settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import settings

from imagesdk import AsyncClient, RetryPolicy
from imagesdk._ratelimit.shared import LimiterRegistry
from imagesdk.emulator import Emulator

# The same examples each time: chance has its place in the soak session, where what it finds can be looked into.
settings.register_profile("suite", derandomize=True, deadline=None)
settings.load_profile("suite")

_SETTINGS = (
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "OPENAI_ORG_ID",
    "OPENAI_PROJECT_ID",
    "IMAGESDK_RATE_LIMIT",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The event loop that an async test runs on."""
    backend: str = request.param
    return backend


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the settings that a machine may have for clients."""
    for name in _SETTINGS:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(autouse=True)
def fresh_limits(monkeypatch: pytest.MonkeyPatch) -> LimiterRegistry:
    """Give each test rate limits of its own: a port may be used again, and windows outlive their clients."""
    registry = LimiterRegistry()
    monkeypatch.setattr("imagesdk._engine.engine.PROCESS_LIMITERS", registry)
    return registry


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """An emulator without a limit."""
    with Emulator(limit=None) as emulator:
        yield emulator


@pytest.fixture
def make_client() -> Callable[..., AsyncClient]:
    """Make a client without a key, a limit or delays, unless the test names them."""

    def make(base_url: str, **options: Any) -> AsyncClient:
        terms: dict[str, Any] = {
            "api_key": "",
            "rate_limit": None,
            "retry": RetryPolicy(backoff=0),
            **options,
        }
        return AsyncClient(base_url=base_url, **terms)

    return make


@pytest.fixture
def client(emulator: Emulator, make_client: Callable[..., AsyncClient]) -> AsyncClient:
    """A client of the emulator without a limit or delays."""
    return make_client(emulator.base_url)
