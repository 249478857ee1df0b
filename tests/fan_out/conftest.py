"""Fixtures of the tests of runs. One event loop is enough, except where a test asks for both."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from imagesdk import AsyncClient
from tests.support.billing_server import BillingServer, billing_server


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def server() -> Iterator[BillingServer]:
    with billing_server() as server:
        yield server


@pytest.fixture
def client(server: BillingServer, make_client: Callable[..., AsyncClient]) -> AsyncClient:
    return make_client(server.base_url)
