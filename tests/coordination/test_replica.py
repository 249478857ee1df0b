"""Processes that die, exit, are stopped or lose their store, with a clock that only the test moves."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from imagesdk import CoordinationError, RateLimit, SharedStore
from imagesdk._coordination.limiter import document_key
from imagesdk._coordination.shared_window import LEASE_SECONDS, SETTLE_SECONDS, SILENCE_SECONDS
from imagesdk._coordination.sqlite_store import SqliteStore
from imagesdk._coordination.store import Reply, StoreUnavailable
from imagesdk._protocol.server_limits import ServerLimits
from tests.support.fleets import KEY, Clock, Fleet, Member

pytestmark = pytest.mark.anyio

MINUTE = RateLimit(4, per=60.0)
WINDOW = 61.0
"""A window with its margin, and some time to react."""


class FlakyStore(SqliteStore):
    """A store that can be away."""

    problem: Exception | None = None

    def read(self, key: str, *, known: str = "", owner: str = "") -> Reply:
        self._fail()
        return super().read(key, known=known, owner=owner)

    def swap(self, *arguments: Any, **options: Any) -> Reply:
        self._fail()
        return super().swap(*arguments, **options)

    def notices(self, owner: str) -> Collection[str]:
        return () if self.problem else super().notices(owner)

    def _fail(self) -> None:
        if self.problem is not None:
            raise self.problem


class Files:
    """A store in a file, and fleets that use it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = Clock()

    def fleet(self, limit: RateLimit = MINUTE, on_store_loss: Any = "wait") -> Fleet:
        shared = SharedStore("sqlite:///virtual.sqlite", on_store_loss)
        return Fleet(self.clock, limit, lambda clock: FlakyStore(self.path, clock=clock), shared)

    def document(self) -> dict[str, Any]:
        with closing(sqlite3.connect(self.path)) as connection:
            row = connection.execute("SELECT document FROM documents WHERE key = ?", (KEY,)).fetchone()
        found: dict[str, Any] = json.loads(row[0])
        return found

    def flush(self) -> None:
        with closing(sqlite3.connect(self.path)) as connection:
            connection.executescript("DELETE FROM documents; DELETE FROM owners; DELETE FROM notices;")


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "shared.sqlite")


def set_problem(member: Member, problem: Exception | None) -> None:
    assert member.thread is not None
    assert isinstance(member.thread.store, FlakyStore)
    member.thread.store.problem = problem


def most_in_a_window(fleet: Fleet, per: float) -> int:
    times = sorted(fleet.times.values())
    return max(sum(start <= at < start + per for at in times) for start in times)


async def test_calls_behind_a_killed_process_go_on_at_once(files: Files) -> None:
    async with files.fleet().running() as fleet:
        one, other = fleet.member(), fleet.member()
        await fleet.call("full", other, 4)
        await fleet.after(1)
        await fleet.call("killed", one)
        await fleet.after(0.2)
        await fleet.call("next", other)
        await fleet.after(5)
        one.kill()
        assert await fleet.after(WINDOW - 6) == ["full", "next"]


async def test_what_a_killed_process_was_granted_is_free_one_window_after_its_lease(files: Files) -> None:
    async with files.fleet().running() as fleet:
        one, other = fleet.member(), fleet.member()
        await fleet.call("killed", one, 4, sent=False)
        await fleet.after(1)
        one.kill()
        await fleet.call("next", other)
        await fleet.after(LEASE_SECONDS + 60)
        assert fleet.granted == ["killed"]
        assert await fleet.after(3) == ["killed", "next"]


async def test_a_process_that_exits_leaves_nothing_behind_but_what_it_has_sent(files: Files) -> None:
    async with files.fleet().running() as fleet:
        one, other = fleet.member(), fleet.member()
        await fleet.call("sent", one, 3)
        await fleet.after(0.1)
        await fleet.call("waiting", one, 4)
        await fleet.call("small", other, 1)
        await fleet.call("large", other, 2)
        await fleet.after(1)
        assert one.thread is not None
        one.thread.exit()
        await fleet.after(1)
        assert fleet.granted == ["sent", "small"]
        assert await fleet.after(WINDOW) == ["sent", "small", "large"]
        assert set(files.document()["owners"]) == {"p1"}


async def test_a_store_that_forgot_everything_is_told_again_by_the_processes(files: Files) -> None:
    async with files.fleet().running() as fleet:
        one, other = fleet.member(), fleet.member()
        await fleet.call("a", one, 2)
        await fleet.call("b", other, 2)
        await fleet.after(1)
        for name, member in (("c", other), ("d", one), ("e", other)):
            await fleet.call(name, member)
            await fleet.after(1)
        files.flush()
        assert await fleet.after(WINDOW - 6) == ["a", "b"]
        assert (await fleet.after(6))[2:] == ["c", "d", "e"]


async def test_a_new_process_after_a_loss_takes_nothing_that_others_have_sent(files: Files) -> None:
    async with files.fleet().running() as fleet:
        one = fleet.member()
        await fleet.call("a", one, 4)
        await fleet.after(5)
        files.flush()
        await fleet.after(SETTLE_SECONDS)
        await fleet.call("b", fleet.member())
        assert await fleet.after(40) == ["a"]
        assert await fleet.after(20) == ["a", "b"]


async def test_an_older_copy_of_the_document_is_replaced_by_what_the_processes_know(files: Files) -> None:
    async with files.fleet().running() as fleet:
        one, other = fleet.member(), fleet.member()
        await fleet.call("a", one, 1)
        await fleet.after(5)
        with closing(sqlite3.connect(files.path)) as connection:
            row = connection.execute("SELECT version, document FROM documents").fetchone()
        await fleet.call("b", other, 3)
        await fleet.after(5)
        with closing(sqlite3.connect(files.path, isolation_level=None)) as connection:
            connection.execute("UPDATE documents SET version = ?, document = ?", row)
        await fleet.call("c", one, 3)
        assert await fleet.after(49) == ["a", "b"]
        assert await fleet.after(15) == ["a", "b", "c"]


async def test_calls_wait_while_the_store_is_away_and_go_on_when_it_is_back(files: Files) -> None:
    async with files.fleet().running() as fleet:
        one = fleet.member()
        await fleet.call("first", one, 4)
        await fleet.after(1)
        set_problem(one, StoreUnavailable("no answer"))
        await fleet.call("in time", one)
        await fleet.call("late", one, deadline=fleet.clock.now + 30)
        assert await fleet.after(29) == ["first"]
        assert await fleet.after(2) == ["first", "late: CoordinationError"]
        await fleet.after(60)
        assert fleet.granted == ["first", "late: CoordinationError"]
        set_problem(one, None)
        assert await fleet.after(5) == ["first", "late: CoordinationError", "in time"]


async def test_a_store_that_was_never_reached_ends_the_call_after_some_seconds(files: Files) -> None:
    async with files.fleet().running() as fleet:
        one = fleet.member()
        set_problem(one, StoreUnavailable("no answer"))
        await fleet.call("first", one)
        assert await fleet.after(8) == []
        assert await fleet.after(5) == ["first: CoordinationError"]


async def test_a_call_waits_for_a_store_no_longer_than_its_patience(files: Files) -> None:
    async with files.fleet().running() as fleet:
        one = fleet.member()
        await fleet.call("first", one)
        await fleet.after(1)
        set_problem(one, StoreUnavailable("no answer"))
        await fleet.call("second", one)
        fleet.permits["second"].patience = 100.0
        assert await fleet.after(95) == ["first"]
        assert await fleet.after(10) == ["first", "second: CoordinationError"]


async def test_a_store_that_cannot_be_used_ends_the_calls_at_once_and_can_be_mended(files: Files) -> None:
    async with files.fleet().running() as fleet:
        one = fleet.member()
        await fleet.call("first", one)
        await fleet.after(1)
        set_problem(one, CoordinationError("The disk is full."))
        await fleet.call("second", one)
        assert await fleet.after(0.1) == ["first", "second: CoordinationError"]
        set_problem(one, None)
        await fleet.call("third", one)
        assert (await fleet.after(3))[2:] == ["third"]


async def test_a_document_of_another_version_ends_the_calls_at_once(files: Files) -> None:
    async with files.fleet().running() as fleet:
        store = SqliteStore(files.path, clock=files.clock)
        store.swap(KEY, "", "1-x", '{"format": 99}', notify=(), keep=600)
        store.close()
        await fleet.call("first", fleet.member())
        assert await fleet.after(0.1) == ["first: CoordinationError"]


async def test_with_local_shares_each_process_continues_with_its_part_after_one_window(files: Files) -> None:
    limit = RateLimit(4, per=10.0)
    async with files.fleet(limit, on_store_loss="local_share").running() as fleet:
        one, other = fleet.member(), fleet.member()
        await fleet.call("a0", one, 2)
        await fleet.call("b0", other, 2)
        await fleet.after(1)
        for number in range(1, 6):
            await fleet.call(f"a{number}", one)
            await fleet.call(f"b{number}", other)
        await fleet.after(0.3)
        for member in (one, other):
            set_problem(member, StoreUnavailable("no answer"))
        assert await fleet.after(9) == ["a0", "b0"]
        await fleet.after(9)
        assert sorted(fleet.granted[2:]) == ["a1", "a2", "b1", "b2"]
        for member in (one, other):
            set_problem(member, None)
        await fleet.after(30)
        assert sorted(fleet.granted[6:]) == ["a3", "a4", "a5", "b3", "b4", "b5"]
        del fleet.times["a0"], fleet.times["b0"]
        assert most_in_a_window(fleet, limit.per) <= limit.images


@pytest.mark.parametrize("skew", [5.0, -5.0])
async def test_clocks_that_differ_by_seconds_play_no_part(files: Files, skew: float) -> None:
    limit = RateLimit(4, per=3.0)
    async with files.fleet(limit).running() as fleet:
        members = [fleet.member(), fleet.member(skew=skew), fleet.member(skew=-2 * skew)]
        for number in range(18):
            await fleet.call(str(number), members[number % 3])
        await fleet.after(15)
        assert len(fleet.times) == 18
        assert most_in_a_window(fleet, limit.per) == limit.images
        assert max(fleet.times.values()) - min(fleet.times.values()) < 4 * 3.0 * 1.03


async def test_a_process_that_was_stopped_sends_nothing_on_old_grants(files: Files) -> None:
    async with files.fleet().running() as fleet:
        one, other = fleet.member(), fleet.member()
        await fleet.call("full", other, 3)
        await fleet.after(1)
        permit = one.limiter.enqueue(1)
        assert one.thread is not None
        one.thread.run_due()  # it is granted, and stopped before its call wakes up
        assert permit.granted
        one.thread.is_stopped = True
        await fleet.after(LEASE_SECONDS + 5)
        await fleet.call("next", other)
        await fleet.after(1)
        one.thread.is_stopped = False
        fleet.permits["stopped"] = permit
        await fleet.again("stopped", one)
        await fleet.after(1)
        assert fleet.granted == ["full"]
        assert await fleet.after(WINDOW) == ["full", "stopped", "next"]


async def test_a_silent_process_holds_up_nobody(files: Files) -> None:
    async with files.fleet().running() as fleet:
        one, other = fleet.member(), fleet.member()
        await fleet.call("full", other, 4)
        await fleet.after(WINDOW - SILENCE_SECONDS - 2)
        await fleet.call("silent", one, 4)
        await fleet.after(0.2)
        one.kill()
        await fleet.call("next", other)
        assert await fleet.after(SILENCE_SECONDS + 3) == ["full", "next"]


async def test_a_long_queue_of_one_process_keeps_its_order_and_the_document_small(files: Files) -> None:
    limit = RateLimit(20, per=10.0)
    async with files.fleet(limit).running() as fleet:
        one, other = fleet.member(), fleet.member()
        for number in range(80):
            await fleet.call(f"a{number}", one)
        await fleet.after(0.2)
        await fleet.call("b", other)
        await fleet.after(0.1)
        assert len(files.document()["tickets"]) <= 60
        await fleet.after(45)
        assert fleet.granted == [*(f"a{number}" for number in range(80)), "b"]
        assert most_in_a_window(fleet, limit.per) == limit.images


async def test_one_call_among_others_is_found_by_the_account_not_by_its_key(files: Files) -> None:
    account = ("https://api.openai.com", "fingerprint-of-key", "", "", "gpt-image-2")
    key = document_key(account)
    assert len(key) < 50
    assert not any(part and part in key for part in account)
    assert document_key((*account[:4], "dall-e-2")) != key


async def test_a_fleet_of_many_processes_keeps_the_limit_and_the_order(files: Files) -> None:
    limit = RateLimit(20, per=10.0)
    async with files.fleet(limit).running() as fleet:
        members = [fleet.member() for _ in range(40)]
        for number, member in enumerate(members):
            await fleet.call(str(number), member)
            fleet.clock.now += 0.01
        await fleet.after(2)
        assert fleet.granted == [str(number) for number in range(20)]
        assert len(json.dumps(files.document())) < 12_000
        await fleet.after(9)
        assert fleet.granted == [str(number) for number in range(40)]


async def test_a_429_is_known_to_all_before_the_next_request(files: Files) -> None:
    limit = RateLimit(50, per=60.0)
    async with files.fleet(limit).running() as fleet:
        members = [fleet.member() for _ in range(4)]
        for number in range(40):
            await fleet.call(str(number), members[number % 4])
        await fleet.after(0.5)
        before = len(fleet.granted)
        members[0].limiter.rejected(fleet.permits["0"], ServerLimits(waits=(20.0,)))
        await fleet.after(0.1)
        assert len(fleet.granted) - before <= 2
        granted = len(fleet.granted)
        await fleet.after(19)
        assert len(fleet.granted) == granted
