"""Fixtures of the tests of runs. One event loop is enough, except where a test asks for both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagesdk import AsyncClient, Client
from tests.support.billing_server import BillingServer
from tests.support.runs import Runs


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def client(server: BillingServer, make_client: Callable[..., AsyncClient]) -> AsyncClient:
    return make_client(server.base_url)


@pytest.fixture
def blocking_client(server: BillingServer) -> Iterator[Client]:
    with Client(base_url=server.base_url, api_key="", rate_limit=None) as client:
        yield client


@pytest.fixture
def runs(client: AsyncClient, server: BillingServer, tmp_path: Path) -> Runs:
    return Runs(client, server, tmp_path / "out")
