"""Fixtures of the tests of claims: a server that counts what it bills, and calls of ``once`` in a ledger of the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from imagesdk import AsyncClient, Generate, Outcome
from imagesdk._coordination.claims import PREFIX, Claim, loads
from imagesdk._coordination.sqlite_store import SqliteStore
from tests.support.billing_server import BillingServer, billing_server


class Once(Protocol):
    """``images.once`` of a prompt, with ``out=`` in the folder of the test."""

    async def __call__(self, prompt: str, **options: Any) -> Outcome: ...


@pytest.fixture
def server() -> Iterator[BillingServer]:
    with billing_server() as server:
        yield server


@pytest.fixture
def shared(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


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
def claim(tmp_path: Path) -> Callable[[str], Claim | None]:
    """Read the claim of a key."""

    def claim(key: str) -> Claim | None:
        store = SqliteStore(tmp_path / "ledger.db")
        try:
            reply = store.read(PREFIX + key)
        finally:
            store.close()
        return loads(reply.document) if reply.version else None

    return claim
