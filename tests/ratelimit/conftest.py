"""Fixtures of the tests of rate limits."""

from __future__ import annotations

import pytest

from imagesdk import RateLimit
from tests.ratelimit.waiting_calls import WINDOW, Clock, TimedLimiter


@pytest.fixture(params=["trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The event loop of most tests here: what they show does not depend on it."""
    backend: str = request.param
    return backend


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limiter() -> TimedLimiter:
    """Four images in a minute."""
    return TimedLimiter(RateLimit(4, per=WINDOW))
