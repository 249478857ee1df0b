"""Fixtures of the tests of what processes share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagesdk import RateLimit, SharedStore
from imagesdk._coordination.sqlite_store import SqliteStore
from tests.support.fleets import Clock, Fleet, TimedRedisStore
from tests.support.redis_servers import RedisServer


@pytest.fixture(params=["trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The event loop of most tests here: what they show does not depend on it."""
    backend: str = request.param
    return backend


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of Redis for one test."""
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture(params=["process", "sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def store_kind(request: pytest.FixtureRequest) -> str:
    """What the processes share: nothing, because there is only one, a file, or a server."""
    kind: str = request.param
    return kind


@pytest.fixture
def fleet_of(store_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[RateLimit], Fleet]:
    """Return a fleet with a limit."""
    path = tmp_path / "shared.sqlite"

    def fleet(limit: RateLimit) -> Fleet:
        shared = SharedStore(f"sqlite:///{path}")
        if store_kind == "process":
            return Fleet(Clock(), limit, None, shared)
        if store_kind == "sqlite":
            return Fleet(Clock(), limit, lambda clock: SqliteStore(path, clock=clock), shared)
        server: RedisServer = request.getfixturevalue("redis_server")
        return Fleet(
            Clock(), limit, lambda clock: TimedRedisStore(server.url, clock), SharedStore(server.url)
        )

    return fleet
