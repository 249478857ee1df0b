"""Claims in a store: kept for ever, listed page by page, and forgotten by age."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from imagesdk import SharedStore
from imagesdk._coordination import redis_store, sqlite_store
from imagesdk._coordination.claim_list import open_claims
from imagesdk._coordination.claims import PREFIX, Claim, dumps
from imagesdk._coordination.store import LedgerStore
from imagesdk._coordination.stores import open_store
from tests.support.redis_servers import RedisServer

FOR_EVER = float("inf")
CLAIM = Claim(content="c", id="a", idempotency_key="k", changed_at=time.time())


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> SharedStore:
    if request.param == "sqlite":
        return SharedStore(f"sqlite:///{tmp_path}/ledger.db")
    server: RedisServer = request.getfixturevalue("redis_server")
    return SharedStore(server.url)


@pytest.fixture
def store(shared: SharedStore) -> Iterator[LedgerStore]:
    store = open_store(shared)
    store.read("")  # creates the file
    yield store
    store.close()


def put(store: LedgerStore, key: str, claim: Claim = CLAIM) -> None:
    assert store.swap(PREFIX + key, "", "v", dumps(claim), notify=(), keep=FOR_EVER).swapped


def test_all_claims_are_listed_and_no_other_documents(
    shared: SharedStore, store: LedgerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_store, "_PAGE", 7)
    monkeypatch.setattr(redis_store, "_PAGE", 7)
    store.swap("window", "", "v", "{}", notify=(), keep=60, owner="me")
    keys = {f"job {number} {{*}}[é]" for number in range(30)}
    for key in keys:
        put(store, key)
    with open_claims(shared) as claims:
        found = {listed.key: listed.claim for listed in claims}
    assert found == dict.fromkeys(keys, CLAIM)


def test_a_claim_is_forgotten_by_its_age_unless_it_has_changed_meanwhile(
    shared: SharedStore, store: LedgerStore
) -> None:
    put(store, "old", evolve(CLAIM, state="done", changed_at=1.0))
    put(store, "failed", evolve(CLAIM, state="failed", changed_at=1.0))
    put(store, "new")
    put(store, "busy", evolve(CLAIM, owner="a", renewed=store.read("").now, changed_at=1.0))
    with open_claims(shared) as claims:
        assert [each.key for each in claims.older_than(3600, ["done"])] == ["old"]
        old = list(claims.older_than(3600))
        assert {each.key for each in old} == {"old", "failed"}
        store.swap(PREFIX + "old", "v", "w", dumps(CLAIM), notify=(), keep=FOR_EVER)
        assert {each.key: claims.forget(each) for each in old} == {"old": False, "failed": True}
        assert {each.key for each in claims} == {"old", "new", "busy"}


@pytest.mark.redis
def test_a_claim_in_redis_has_no_end_and_a_document_that_becomes_one_loses_its_end(
    redis_server: RedisServer,
) -> None:
    store = open_store(SharedStore(redis_server.url))
    store.swap("k", "", "v", "{}", notify=(), keep=60)
    with redis_server.client() as client:
        assert client.ttl("imagesdk:{k}") > 0
        store.swap("k", "v", "w", "{}", notify=(), keep=FOR_EVER)
        assert client.ttl("imagesdk:{k}") == -1
    store.close()
