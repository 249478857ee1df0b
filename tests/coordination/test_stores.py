"""The stores: documents that change by compare-and-swap, in SQLite and Redis."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest

from imagesdk import AsyncClient, ConfigurationError, CoordinationError, SharedStore
from imagesdk._coordination.redis_store import RedisStore
from imagesdk._coordination.sqlite_store import SqliteStore
from imagesdk._coordination.store import DocumentStore, Notice, StoreUnavailable
from tests.support.redis_servers import RedisServer


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], DocumentStore]]:
    """Return what opens one store more than once."""
    opened: list[DocumentStore] = []

    def open_one() -> DocumentStore:
        if request.param == "sqlite":
            opened.append(SqliteStore(tmp_path / "shared.sqlite"))
        else:
            url = request.getfixturevalue("redis_server").url
            opened.append(RedisStore(url, url))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


def write(store: DocumentStore, expected: str, version: str, document: str, *notify: str) -> bool:
    return store.swap("k", expected, version, document, notify=notify, keep=60, owner="me").swapped


def test_a_document_is_replaced_only_by_those_who_know_its_version(
    open_store: Callable[[], DocumentStore],
) -> None:
    one, other = open_store(), open_store()
    assert one.read("k").version == ""
    assert write(one, "", "1-a", "first")
    assert not write(other, "", "1-b", "second")
    assert other.read("k").document == "first"
    reply = other.swap("k", "0-x", "1-c", "third", notify=(), keep=60)
    assert (reply.swapped, reply.version, reply.document) == (False, "1-a", "first")
    assert write(other, "1-a", "2-b", "second")
    assert one.read("k", known="2-b").document == ""
    assert one.read("k", known="1-a").document == "second"
    assert one.read("another").version == ""


def test_only_one_of_many_threads_wins_each_version(open_store: Callable[[], DocumentStore]) -> None:
    stores = [open_store() for _ in range(4)]
    wins: list[str] = []

    def compete(store: DocumentStore, name: str) -> None:
        for number in range(25):
            version = "" if not number else f"{number}"
            while not store.swap("k", version, str(number + 1), name, notify=(), keep=60).swapped:
                if int(store.read("k").version or 0) > number:
                    break
            else:
                wins.append(name)

    threads = [threading.Thread(target=compete, args=(store, str(at))) for at, store in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wins) == 25
    assert stores[0].read("k").version == "25"


def test_owners_leave_signs_of_life(open_store: Callable[[], DocumentStore]) -> None:
    one, other = open_store(), open_store()
    one.read("k", owner="one")
    reply = other.read("k", owner="other")
    assert set(reply.seen) == {"one", "other"}
    assert reply.now - 30 < reply.seen["one"] <= reply.seen["other"] <= reply.now
    assert set(one.read("else", owner="one").seen) == {"one"}


def test_notified_owners_receive_the_document_or_its_key(open_store: Callable[[], DocumentStore]) -> None:
    one, other = open_store(), open_store()
    received: list[Notice] = []
    arrived = threading.Event()

    def on_notice(notice: Notice) -> None:
        if notice.key:  # and not the beginning of the subscription
            received.append(notice)
            arrived.set()

    other.listen("other", on_notice)
    version = ""
    while not received:
        assert write(one, version, version := f"{len(version) + 1}-v", "text", "other", "nobody")
        received += [Notice(key, None) for key in other.notices("other")]
        arrived.wait(0.01)
    assert received[0].key == "k"
    assert received[0].reply is None or received[0].reply.document == "text"


@pytest.mark.redis
def test_a_script_that_was_flushed_is_loaded_again(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.url, "name")
    assert write(store, "", "1-a", "first")
    with redis_server.client() as client:
        client.script_flush()
        assert write(store, "1-a", "2-a", "second")
        assert client.ttl("imagesdk:{k}") in {59, 60}
        assert sorted(client.keys()) == ["imagesdk:{k}", "imagesdk:{k}:owners"]
    store.close()


@pytest.mark.redis
def test_a_server_that_is_away_and_one_that_refuses_the_login_differ(redis_server: RedisServer) -> None:
    away = RedisStore("redis://:hush@127.0.0.1:1/0", "redis://127.0.0.1:1/0")
    with pytest.raises(StoreUnavailable) as unavailable:
        away.read("k")
    with redis_server.client() as client:
        client.config_set("requirepass", "other")
    refused = RedisStore(f"unix://:hush@{redis_server.socket}", "unix://somewhere")
    with pytest.raises(CoordinationError, match="refused the login") as error:
        refused.read("k")
    for found in (unavailable, error):
        assert "hush" not in str(found.value) + repr(found.value)
    away.close()
    refused.close()


@pytest.mark.redis
def test_a_replica_and_a_full_memory_are_no_place_for_a_document(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.url, "name")
    with redis_server.client() as client:
        client.config_set("maxmemory", "1")
        client.config_set("maxmemory-policy", "noeviction")
        with pytest.raises(CoordinationError, match=r"cannot be used: .*memory"):
            write(store, "", "1-a", "x")
        client.config_set("maxmemory", "0")
        client.replicaof("127.0.0.1", 1)
        with pytest.raises(StoreUnavailable):
            write(store, "", "1-a", "x")
    store.close()


def test_a_file_that_is_no_store_is_not_touched(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("nothing of ours " * 100)
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    before = other.read_bytes()
    for path, words in (
        (text, "not a database"),
        (other, "not a shared store"),
        (tmp_path / "no" / "x", "unable"),
    ):
        with pytest.raises(CoordinationError, match=words):
            SqliteStore(path).read("k")
    assert other.read_bytes() == before


def test_a_store_of_a_later_version_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "shared.sqlite"
    store = SqliteStore(path)
    store.read("k", owner="me")
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(CoordinationError, match="version 2, and this package uses version 1"):
        SqliteStore(path).read("k")


def test_a_full_disk_and_a_file_without_write_permission_are_named(tmp_path: Path) -> None:
    path = tmp_path / "shared.sqlite"
    store = SqliteStore(path)
    store.read("k", owner="me")
    with store._opened() as connection:
        connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(CoordinationError, match=r"cannot be used: .* full"):
        write(store, "", "1-a", "x" * 1_000_000)
    with store._opened() as connection:
        connection.execute("PRAGMA query_only = 1")
    with pytest.raises(CoordinationError, match="readonly"):
        write(store, "", "1-a", "x")
    store.close()


def test_a_file_that_another_process_has_locked_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagesdk._coordination.sqlite_store.BUSY_SECONDS", 0.0)
    path = tmp_path / "shared.sqlite"
    store = SqliteStore(path)
    store.read("k")
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        write(store, "", "1-a", "x")
    connection.close()
    assert write(store, "", "1-a", "x")
    store.close()


def test_no_text_of_a_store_shows_its_password() -> None:
    shared = SharedStore("redis://user:hush@host:1/0?password=hush")
    client = AsyncClient(api_key="sk-test", shared=shared)
    for text in (repr(shared), str(shared), shared.name, repr(client), repr(client._settings)):
        assert "hush" not in text
        assert "user" not in text
    with pytest.raises(TypeError, match="password"):
        shared.__reduce__()
    with pytest.raises(ConfigurationError) as caught:
        SharedStore("http://user:hush@host")
    assert "hush" not in str(caught.value)
    with pytest.raises(ConfigurationError) as caught:
        RedisStore("redis://user:hush@host:port/0", "redis://host:port/0")
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["", "redis", "sqlite://x", "sqlite:///", "sqlite:///folder/", "sqlite:///x?mode=ro", "postgres://host"],
)
def test_a_url_without_a_store_is_refused_when_the_client_is_built(url: str) -> None:
    if not url:
        AsyncClient(api_key="sk-test", shared=url)
        return
    with pytest.raises(ConfigurationError, match="shared must be"):
        AsyncClient(api_key="sk-test", shared=url)


def test_the_environment_names_the_store_where_no_option_does(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Path.cwd()
    monkeypatch.setenv("IMAGESDK_SHARED", "sqlite:///limits.sqlite")
    named = AsyncClient(api_key="sk-test")._settings.shared
    assert named == SharedStore(f"sqlite:///{here}/limits.sqlite")
    assert AsyncClient(api_key="sk-test", shared="")._settings.shared is None
    other = AsyncClient(api_key="sk-test", shared="sqlite:///other.sqlite")
    assert other._settings.shared == SharedStore(f"sqlite:///{here}/other.sqlite")
    assert other.with_options(timeout=5)._settings.shared == other._settings.shared


def test_a_missing_package_is_named_when_the_client_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagesdk._coordination.stores.find_spec", Mock(return_value=None))
    with pytest.raises(ConfigurationError, match="extra `redis`"):
        AsyncClient(api_key="sk-test", shared="redis://host")
    AsyncClient(api_key="sk-test", shared="sqlite:///limits.sqlite")


def test_the_file_is_in_the_folder_that_the_url_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imagesdk._coordination.stores import open_store as open_by_url

    monkeypatch.chdir(tmp_path)
    for url in ("sqlite:///one.sqlite", f"sqlite:///{tmp_path}/two%20files.sqlite"):
        store = open_by_url(SharedStore(url))
        store.read("k")
        store.close()
    names = {path.name for path in tmp_path.iterdir()}
    assert {"one.sqlite", "two files.sqlite"} <= names


@pytest.mark.redis
def test_a_document_that_the_server_does_not_have_is_asked_of_others(redis_server: RedisServer) -> None:
    one, other = (RedisStore(redis_server.url, "name") for _ in range(2))
    received: list[Notice] = []
    arrived = threading.Event()

    def on_notice(notice: Notice) -> None:
        if notice.key:
            received.append(notice)
            arrived.set()

    one.listen("one", on_notice)
    assert other.read("k", owner="other").heard == 0
    one.attend("k")
    heard = 0
    while not arrived.wait(0.05):
        heard = other.read("k", owner="other").heard
    assert heard == 1
    assert received[0] == Notice("k", None)
    one.close()
    other.close()


def test_a_file_that_was_removed_is_made_anew_for_all(tmp_path: Path) -> None:
    one, other = (SqliteStore(tmp_path / "shared.sqlite") for _ in range(2))
    assert write(one, "", "1-a", "first")
    assert other.read("k").version == "1-a"
    for path in tmp_path.iterdir():
        path.unlink()
    assert other.read("k").version == ""
    assert write(one, "", "1-b", "second")
    assert other.read("k").version == "1-b"
    one.close()
    other.close()
