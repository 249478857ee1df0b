"""Journal of a run: where it is, what it refuses, and what happens when it cannot be written."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from imagesdk import AsyncClient, ConfigurationError, Generate, JobLike, JournalError, Outcome
from imagesdk.fan_out import journal
from imagesdk.fan_out.group_commit import GroupCommit
from imagesdk.fan_out.job_source import Item
from imagesdk.fan_out.journal import Journal, open_journal, read_records
from tests.support.billing_server import BillingServer
from tests.support.runs import run_all, statuses

pytestmark = pytest.mark.anyio
both_loops = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])

KEY = "sk-the-sentinel-of-these-tests"


@pytest.fixture
def client(server: BillingServer, make_client: Callable[..., AsyncClient]) -> AsyncClient:
    return make_client(server.base_url, api_key=KEY)


async def test_a_journal_is_beside_the_images_private_and_without_the_key(
    client: AsyncClient, server: BillingServer, tmp_path: Path
) -> None:
    jobs: list[JobLike] = ["a", "url please", "refuse me", "break me"]
    async with client, client.images.fan_out(jobs, out=tmp_path / "{job}.{ext}", journal=True) as run:
        await run.collect()
        files = [path for path in tmp_path.iterdir() if path.name.startswith("journal.db")]
        assert len(files) == 4
        for path in files:
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
            assert KEY.encode() not in path.read_bytes()
    kept = (tmp_path / "journal.db").read_bytes()
    assert b"/images/" not in b"".join(
        json.dumps(dict(entry.response or {})).encode() for entry in read_records(tmp_path / "journal.db")
    )
    assert kept


async def test_a_journal_can_be_elsewhere(client: AsyncClient, server: BillingServer, tmp_path: Path) -> None:
    await run_all(client, ["a"], tmp_path / "out", journal=tmp_path / "books" / "one.db")
    assert [path.suffix for path in (tmp_path / "out").iterdir()] == [".png"]
    [again] = await run_all(client, ["a"], tmp_path / "out", journal=tmp_path / "books" / "one.db")
    assert again.resumed


async def test_a_journal_needs_out(client: AsyncClient, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="journal is given without out"):
        async with client, client.images.fan_out(["a"], journal=tmp_path / "one.db"):
            pass


@both_loops
async def test_a_journal_serves_one_run_at_a_time(
    client: AsyncClient, server: BillingServer, tmp_path: Path
) -> None:
    async with client, client.images.fan_out(["hold on"], out=tmp_path):
        with pytest.raises(JournalError, match=rf"Another run uses .*process {os.getpid()}"):
            async with client.images.fan_out(["a"], out=tmp_path):
                pass
    assert statuses(await run_all(client, ["a"], tmp_path)) == ["done"]


async def test_a_damaged_journal_is_refused_and_nothing_is_sent(
    client: AsyncClient, server: BillingServer, tmp_path: Path
) -> None:
    await run_all(client, [f"image {n}" for n in range(50)], tmp_path)
    path = tmp_path / "journal.db"
    data = bytearray(path.read_bytes())
    data[4096 : 4096 * 3] = os.urandom(4096 * 2)
    path.write_bytes(data)
    before = len(server.asked)
    with pytest.raises(JournalError, match="Move the journal away"):
        await run_all(client, ["new"], tmp_path)
    assert len(server.asked) == before
    assert len(list(tmp_path.glob("*.png"))) == 50


async def test_a_journal_with_torn_commits_continues_from_the_commit_before(
    client: AsyncClient, server: BillingServer, tmp_path: Path
) -> None:
    jobs: list[JobLike] = [f"image {n}" for n in range(4)]
    async with client, client.images.fan_out(jobs, out=tmp_path / "0", concurrency=1) as run:
        await run.collect()
        shutil.copytree(tmp_path / "0", tmp_path / "kept")
    log = (tmp_path / "kept" / "journal.db-wal").read_bytes()
    assert len(log) > 20_000
    for number, end in enumerate(range(0, len(log), 7001), 1):
        out = tmp_path / str(number)
        shutil.copytree(tmp_path / "kept", out)
        (out / "journal.db-wal").write_bytes(log[:end])
        (out / "journal.db-shm").unlink()
        before = {path: path.read_bytes() for path in out.glob("*.png")}
        outcomes = await run_all(client, jobs, out)
        assert set(statuses(outcomes)) <= {"done", "unknown"}
        assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("content", [b"some other file of the user, long enough to be no header", b"x"])
async def test_another_file_is_never_used_as_a_journal(
    client: AsyncClient, server: BillingServer, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "mine.db").write_bytes(content)
    with pytest.raises(JournalError):
        await run_all(client, ["a"], tmp_path, journal=tmp_path / "mine.db")
    assert (tmp_path / "mine.db").read_bytes() == content


async def test_another_database_or_a_later_version_is_never_used_as_a_journal(
    client: AsyncClient, server: BillingServer, tmp_path: Path
) -> None:
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE mine (x)")
    other.commit()
    other.close()
    with pytest.raises(JournalError, match="not a journal of imagesdk"):
        await run_all(client, ["a"], tmp_path, journal=tmp_path / "other.db")
    await run_all(client, ["a"], tmp_path)
    later = sqlite3.connect(tmp_path / "journal.db")
    later.execute("PRAGMA user_version = 99")
    later.close()
    with pytest.raises(JournalError, match="later version"):
        await run_all(client, ["a"], tmp_path)


async def test_a_journal_is_written_before_the_first_byte_and_if_it_fails_nothing_is_sent(
    client: AsyncClient, server: BillingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(db: sqlite3.Connection, *_: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr(journal, "_sending", full)
    with pytest.raises(JournalError, match=r"disk is full.*Free disk space and run the same list again"):
        await run_all(client, ["a", "b"], tmp_path)
    assert server.asked == []
    monkeypatch.undo()
    assert statuses(await run_all(client, ["a", "b"], tmp_path)) == ["done", "done"]


@both_loops
async def test_an_image_is_kept_though_the_journal_cannot_record_it(
    client: AsyncClient, server: BillingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> None:
        raise JournalError("The disk is full.")

    monkeypatch.setattr(Journal, "received", full)
    taken = list[Outcome]()
    with pytest.raises(JournalError, match="The disk is full"):  # noqa: PT012
        async with client, client.images.fan_out(["a", "b", "c"], out=tmp_path, concurrency=1) as run:
            async for outcome in run:
                taken.append(outcome)
    assert statuses(taken) == ["done"]
    assert len(list(tmp_path.glob("*.png"))) == 1
    monkeypatch.undo()
    assert statuses(await run_all(client, ["a", "b", "c"], tmp_path)) == ["unknown", "done", "done"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_lock_is_released_if_asyncio_cancels_the_opening_of_a_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    connected: Callable[[Path, bool], sqlite3.Connection] = vars(journal)["_connected"]

    async def hold() -> None:
        async with open_journal(tmp_path / "journal.db"):
            await anyio.sleep_forever()

    task = asyncio.ensure_future(hold())

    def cancelled(path: Path, writes: bool) -> sqlite3.Connection:
        loop.call_soon_threadsafe(task.cancel)
        return connected(path, writes)

    monkeypatch.setattr(journal, "_connected", cancelled)
    await asyncio.wait([task])
    assert task.cancelled()
    monkeypatch.undo()
    async with open_journal(tmp_path / "journal.db"):
        pass


@both_loops
async def test_a_lock_is_released_if_its_file_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "truncate", full)
    with pytest.raises(OSError, match="No space left"):
        async with open_journal(tmp_path / "journal.db"):
            raise AssertionError("there is no room")
    monkeypatch.undo()
    async with open_journal(tmp_path / "journal.db"):
        with pytest.raises(JournalError, match=rf"Another run uses .*\(process {os.getpid()}\)"):
            async with open_journal(tmp_path / "journal.db"):
                raise AssertionError("there is another")


async def test_a_file_system_without_locks_is_an_os_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unknown)
    with pytest.raises(OSError, match="No locks available"):
        async with open_journal(tmp_path / "journal.db"):
            raise AssertionError("it cannot be held alone")


@both_loops
async def test_a_full_disk_ends_the_run_and_no_further_job_is_sent(
    client: AsyncClient, server: BillingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[JobLike] = [f"image {n}" for n in range(10)]
    write, written = os.write, 0

    def some(descriptor: int, data: bytes) -> int:
        nonlocal written
        written += 1
        if written > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data)

    monkeypatch.setattr("imagesdk._engine.sink.os.write", some)
    taken = list[Outcome]()
    with pytest.raises(OSError, match=r"No space left.*Free disk space and run the same list again"):  # noqa: PT012
        async with client, client.images.fan_out(jobs, out=tmp_path, concurrency=1) as run:
            async for outcome in run:
                taken.append(outcome)
    monkeypatch.undo()
    bought = len(server.asked)
    assert statuses(taken).count("done") == bought - 1
    assert statuses(taken).count("unknown") == 1
    outcomes = await run_all(client, jobs, tmp_path)
    assert statuses(outcomes).count("done") == 9
    assert statuses(outcomes).count("unknown") == 1
    assert max(server.billed.values()) == 1
    assert not list(tmp_path.glob("*.part"))


async def test_an_output_folder_that_cannot_be_written_to_is_an_error_before_anything_is_sent(
    client: AsyncClient, server: BillingServer, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        await run_all(client, ["a"], tmp_path / "file" / "below")
    assert server.asked == []


async def test_all_writes_that_wait_at_once_share_one_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = list[int]()
    commit: Callable[[GroupCommit, list[object]], None] = vars(GroupCommit)["_commit"]

    def counted(self: GroupCommit, batch: list[object]) -> None:
        batches.append(len(batch))
        commit(self, batch)

    monkeypatch.setattr(GroupCommit, "_commit", counted)
    async with open_journal(tmp_path / "journal.db") as opened, anyio.create_task_group() as tasks:
        for n in range(50):
            item = Item(n, Generate(f"image {n}"), None)
            tasks.start_soon(opened.claim, item, f"content {n}", 1, None)
    assert sum(batches) == 50
    assert len(batches) <= 2
    assert len(list(read_records(tmp_path / "journal.db"))) == 50
