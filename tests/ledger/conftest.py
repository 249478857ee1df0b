"""Fixtures of the tests of claims: a server that counts what it bills, and calls of ``once`` in a ledger of the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import pytest

from imagesdk import AsyncClient, Generate, Outcome, SharedStore
from imagesdk._coordination.claim_ledger import ClaimLedger
from imagesdk._coordination.claims import PREFIX, Claim, loads
from imagesdk._coordination.stores import open_store
from tests.support.billing_server import BillingServer, billing_server
from tests.support.redis_servers import RedisServer


class Once(Protocol):
    """``images.once`` of a prompt, with ``out=`` in the folder of the test."""

    async def __call__(self, prompt: str, **options: Any) -> Outcome: ...


def before_waiting(happen: Callable[[], object]) -> Callable[..., Awaitable[bool]]:
    """Return ``ClaimLedger.wait_until_free`` for calls that are about to wait when something happens."""
    wait = ClaimLedger.wait_until_free

    async def wait_until_free(ledger: ClaimLedger, key: str, *, deadline: float | None = None) -> bool:
        happen()
        return await wait(ledger, key, deadline=deadline)

    return wait_until_free


@pytest.fixture
def server() -> Iterator[BillingServer]:
    with billing_server() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a ledger."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/ledger.db"
    else:
        with RedisServer(tmp_path) as server:
            yield server.url


@pytest.fixture
async def client(
    server: BillingServer, make_client: Callable[..., AsyncClient], shared: str
) -> AsyncIterator[AsyncClient]:
    async with make_client(server.base_url, shared=shared) as client:
        yield client


@pytest.fixture
def once(client: AsyncClient, tmp_path: Path) -> Once:
    async def once(prompt: str, **options: Any) -> Outcome:
        given: dict[str, Any] = {"out": tmp_path / "out", **options}
        return await client.images.once(Generate(prompt), **given)

    return once


@pytest.fixture
def claim(shared: str) -> Callable[[str], Claim | None]:
    """Read the claim of a key."""

    def claim(key: str) -> Claim | None:
        with closing(open_store(SharedStore(shared))) as store:
            reply = store.read(PREFIX + key)
        return loads(reply.document) if reply.version else None

    return claim
